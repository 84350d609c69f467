"""From the sources of the book to pages: execution, building, and measuring of claims."""
