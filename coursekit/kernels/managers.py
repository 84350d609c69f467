"""Kernel managers whose kernels are forked, for programs that choose no provisioner by name."""

from __future__ import annotations

from typing import Any

from jupyter_client.kernelspec import NoSuchKernel
from jupyter_client.manager import AsyncKernelManager, KernelManager

from coursekit.kernels.provisioner import ForkedProvisioner


def _provisioner(manager: KernelManager) -> ForkedProvisioner | None:
    """Make a manager's provisioner, unless its kernel's specification names another or is missing.

    Without one, the manager starts a kernel as usual or says that there is none.
    """
    try:
        spec = manager.kernel_spec
    except NoSuchKernel:
        return None
    if spec is None or "kernel_provisioner" in spec.metadata:
        return None
    return ForkedProvisioner(kernel_spec=spec, parent=manager)


class ForkedKernelManager(KernelManager):
    """A `KernelManager` whose kernels are forked from the shared warm server where that works."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.provisioner = _provisioner(self)


class AsyncForkedKernelManager(AsyncKernelManager):
    """An `AsyncKernelManager` whose kernels are forked from the shared server where that works."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.provisioner = _provisioner(self)
