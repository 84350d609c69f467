"""From sound to text: features, connectionist temporal classification, error rates."""
