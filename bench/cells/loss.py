"""What a loss on features is, and what it declares of itself: whether it works class by class, and what state it keeps.

- `@by_class`: ranks may share its classes, and a class of few images gives a step all that it has. It keeps nothing from step
  to step, so an interrupted cell goes on with it.
- a class of the base `StatefulLoss`, or with `state_dict` and `load_state_dict`: a cell goes on with its state, on one rank.
- a function that declares nothing: a cell goes on with it, on one rank, since a function keeps nothing.
- any other that declares nothing: one rank works on its cells, and they begin anew after an interruption.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from pydantic import Field

from bench.cells.settings import Positive, Settings
from bench.types import ContextObjective, Objective

if TYPE_CHECKING:
    import torch
    from torch import Tensor

_Loss = TypeVar("_Loss")


def by_class(loss: _Loss) -> _Loss:
    """Declare that a loss, a function or a class, works class by class, so that torchrun's ranks may share its classes.

    The loss of a class then depends on that class's features alone, and nothing is kept from one step to the next.

        @by_class
        def my_loss(real, syn, *, generator): ...
    """
    loss.works_by_class = True  # type: ignore[attr-defined]
    return loss


class FeatureLoss(Settings):
    """Base of the losses on features. Its settings are the loss: an instance is an `Objective`.

    `works_by_class` is set by the decorator `by_class`. `rate` and `lr_images` do not belong to the loss: a cell's description
    has them in the protocol's section `match`.
    """

    works_by_class: ClassVar[bool] = False

    rate: Positive | None = Field(
        default=None,
        exclude=True,
        description="Angle of a step on the images for this loss alone, in radians; none for match.rate.",
    )
    lr_images: Positive | None = Field(
        default=None, exclude=True, description="Learning rate on the images for this loss alone; none for match.lr_images."
    )

    def __call__(self, real: Tensor, syn: Tensor, *, generator: torch.Generator) -> Tensor:
        """Return the loss of each class, `[C]`; see `Objective`."""
        raise NotImplementedError(f"{type(self).__name__} has no __call__")

    def for_cell(self) -> Objective | ContextObjective:
        """Return the loss of one cell: this one, or a new one if it keeps state."""
        return self


class StatefulLoss:
    """Base of a class of losses that keep tensors from step to step. Each cell has an instance of its own.

        class Smoothed(StatefulLoss):
            def __init__(self, decay: float = 0.9):
                self.decay = decay
                self.add_state("mean", torch.zeros(()))

            def __call__(self, real, syn, *, generator):
                self.mean = self.decay * self.mean + (1 - self.decay) * real.mean(1)  # [C, d]
                return (self.mean - syn.mean(1)).square().sum(1)

    An interrupted cell goes on with the tensors that its last step assigned, to the same bits. They belong to one process, so
    the classes of such a cell are not shared by ranks.
    """

    _state_names: tuple[str, ...] = ()

    def add_state(self, name: str, tensor: Tensor) -> None:
        """Declare a tensor, which is the attribute `name` from then on.

        Args:
            name: of the attribute.
            tensor: its value at the first step. A step may change it in place, or assign another tensor, of another shape too.

        Raises:
            ValueError: if the name is declared already.

        """
        if name in self._state_names:
            raise ValueError(f"the state {name!r} is declared twice")
        self._state_names = (*self._state_names, name)
        setattr(self, name, tensor)

    def state_dict(self) -> dict[str, Tensor]:
        """Return the present tensors by name."""
        return {name: getattr(self, name) for name in self._state_names}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go on from the tensors that `state_dict` returned."""
        for name in self._state_names:
            setattr(self, name, state[name])


def declared_state(loss: Any) -> Any | None:
    """Return the object whose `state_dict` has a loss's state: the loss itself, or what a `partial` calls; None if none has."""
    while isinstance(loss, partial):
        loss = loss.func
    return loss if hasattr(loss, "state_dict") and hasattr(loss, "load_state_dict") else None


def is_stateless(loss: Any) -> bool:
    """Return whether a loss keeps nothing from step to step: settings, a function, or what declares it by `by_class`."""
    if getattr(loss, "works_by_class", False):
        return True
    if isinstance(loss, partial):
        return is_stateless(loss.func)
    return inspect.isfunction(loss) or (isinstance(loss, Settings) and not loss.__private_attributes__)


def reason_coupled(settings: Any) -> str | None:
    """Return why a loss is called once a step, for all classes together; None if it works class by class."""
    if declared_state(settings.for_cell()) is not None:
        return "its loss keeps state, which belongs to one process"
    if settings.works_by_class:
        return None
    return "its loss does not declare that it works class by class, with the decorator bench.by_class"
