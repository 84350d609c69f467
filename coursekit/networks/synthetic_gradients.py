"""Layers that do not wait for the backward pass: they predict the gradient that would come.

Follows Jaderberg et al., "Decoupled neural interfaces using synthetic gradients" (2017). Each
interface is a small model that guesses, from a layer's output alone or from the output and the
label (conditioned, cDNI), the derivative of the loss by that output. The layer updates itself with
the guess at once. The guess is corrected later, when the layer above has its own guess and sends it
down by one step of backpropagation.

The interfaces here predict the derivative of each example's *own* loss, which does not shrink with
the size of the batch; `units="batch"` predicts what autograd leaves in `.grad` after a mean over
the batch, and shows what goes wrong then.
"""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

Loss = Callable[[Tensor, Tensor], Tensor]
"""From outputs (batch, ...) and targets (batch, ...) to one loss an example, (batch,)."""


class SyntheticGradient(nn.Module):
    """Predict the derivative of an example's loss by a layer's output; linear, zero at first.

    Args:
        features: Width of the layer's output.
        condition_size: Width of what the prediction may also see, for example a one-hot label;
            0 for the unconditioned DNI.

    Shape: (batch, features) and (batch, condition_size) to (batch, features).

    Source: Jaderberg et al. (2017), section 2.1 and, for the label, section 3.1.
    """

    def __init__(self, features: int, condition_size: int = 0) -> None:
        super().__init__()
        self.condition_size = condition_size
        self.linear = nn.Linear(features + condition_size, features)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Predict zero, so that an untrained interface leaves its layer alone."""
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(
        self,
        outputs: Float[Tensor, "batch features"],
        condition: Float[Tensor, "batch condition_size"] | None = None,
    ) -> Float[Tensor, "batch features"]:
        """Return the predicted derivative for each example."""
        width = 0 if condition is None else condition.shape[1]
        if width != self.condition_size:
            raise ValueError(
                f"condition must have {self.condition_size} features, got {width}"
                + (" (none was given)" if condition is None else "")
            )
        return self.linear(outputs if condition is None else torch.cat([outputs, condition], 1))


class DecoupledNetwork(nn.Module):
    """A stack of layers, each with an interface above it, and a head that knows the loss.

    Args:
        layers: The layers from the bottom up.
        interfaces: One for each layer's output, in the same order.
        head: From the last layer's output to what the loss compares with the targets.
        loss: One loss an example.
        units: What the interfaces predict: "example" the derivative of an example's own loss,
            "batch" that of the mean over the batch, which is smaller by the batch's size.

    Raises:
        ValueError: If the counts differ or `units` is unknown.

    Source: Jaderberg et al. (2017), section 2.
    """

    def __init__(
        self,
        layers: Sequence[nn.Module],
        interfaces: Sequence[SyntheticGradient],
        head: nn.Module,
        loss: Loss,
        units: str = "example",
    ) -> None:
        super().__init__()
        if len(layers) != len(interfaces):
            raise ValueError(
                f"interfaces must be as many as layers, {len(layers)}, got {len(interfaces)}"
            )
        if units not in ("example", "batch"):
            raise ValueError(f'units must be "example" or "batch", got {units!r}')
        self.layers, self.interfaces = nn.ModuleList(layers), nn.ModuleList(interfaces)
        self.head, self.loss, self.units = head, loss, units

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the head's output, as an ordinary network does."""
        for layer in self.layers:
            inputs = layer(inputs)
        return self.head(inputs)

    def update_layer(
        self, index: int, inputs: Tensor, condition: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Run one layer and give its parameters their gradients at once, by the prediction.

        Nothing above the layer is used: no later layer, no loss.

        Args:
            index: The layer, counted from 0.
            inputs: What the layer below put out, (batch, ...).
            condition: What the interface may also see.

        Returns:
            The layer's output, and what the prediction says about the layer's inputs: the target
            of the interface below. Both are cut from the graph.
        """
        inputs = inputs.detach().requires_grad_()
        outputs = self.layers[index](inputs)
        with torch.no_grad():
            predicted = self.interfaces[index](outputs, condition)
        share = 1 / len(inputs) if self.units == "example" else 1.0
        outputs.backward(predicted * share)
        assert inputs.grad is not None
        return outputs.detach(), inputs.grad / share

    def update(
        self, inputs: Tensor, targets: Tensor, condition: Tensor | None = None
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Give all layers and the head their gradients; add nothing to the interfaces.

        Returns:
            Each layer's output and the target of the interface on it. The last target is the true
            derivative; the others come from the predictions one layer above.
        """
        signals, outputs, below = inputs, [], []
        for index in range(len(self.layers)):
            signals, sent_down = self.update_layer(index, signals, condition)
            outputs.append(signals)
            below.append(sent_down)
        top = signals.requires_grad_()
        self.loss(self.head(top), targets).mean().backward()
        assert top.grad is not None
        true = top.grad * (len(inputs) if self.units == "example" else 1)
        outputs[-1] = top.detach()
        return outputs, [*below[1:], true]

    def interface_loss(
        self, outputs: Sequence[Tensor], targets: Sequence[Tensor], condition: Tensor | None = None
    ) -> Tensor:
        """Return the squared error of all predictions, the mean over the batch."""
        errors = [
            ((interface(output, condition) - target) ** 2).sum(1).mean()
            for interface, output, target in zip(self.interfaces, outputs, targets, strict=True)
        ]
        return torch.stack(errors).sum()

    def true_gradients(self, inputs: Tensor, targets: Tensor) -> list[Tensor]:
        """Return the derivative of each example's loss by each layer's output, for comparison."""
        outputs = []
        for layer in self.layers:
            inputs = layer(inputs)
            outputs.append(inputs)
        return list(torch.autograd.grad(self.loss(self.head(inputs), targets).sum(), outputs))
