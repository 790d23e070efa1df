"""A network as a folder or a repository of the Hugging Face hub: `from_pretrained`, `save_pretrained`, `push_to_hub`.

A folder holds model.safetensors (the weights in their own precision; the header has configuration and facts),
config.json (the same words for people and for the hub) and README.md, a model card.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from STDNet.errors import InputError
from STDNet.files import write_json
from STDNet.weight_file import FILE, write_weights

CARD = """---
{{ card_data }}
---

Depth video super-resolution with STDNet (arXiv 2508.01259). `STDNet.from_pretrained(REPOSITORY)` gives the network;
config.json has its scale and width, and below `meta` what is known of the weights, such as `max_depth_m`: the metres
that the network sees as 1.
"""

try:
    from huggingface_hub import PyTorchModelHubMixin, hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OfflineModeIsEnabled
except ImportError:

    class HubMixin:
        """What stands in for the mixin where huggingface_hub is not installed."""

        @classmethod
        def from_pretrained(cls, source: Path | str, **options: Any) -> Any:
            """Say what is missing."""
            raise InputError("from_pretrained needs huggingface_hub: pip install huggingface_hub")

        def save_pretrained(self, folder: Path | str, **options: Any) -> Any:
            """Say what is missing."""
            raise InputError("save_pretrained needs huggingface_hub: pip install huggingface_hub")

        push_to_hub = save_pretrained

else:

    class HubMixin(  # type: ignore[no-redef]
        PyTorchModelHubMixin,
        library_name="STDNet",
        license="apache-2.0",
        tags=["depth", "video", "super-resolution"],
        paper_url="https://arxiv.org/abs/2508.01259",
        model_card_template=CARD,
    ):
        """The mixin of huggingface_hub with our file format."""

        @classmethod
        def from_pretrained(cls, source: Path | str, **options: Any) -> Any:  # type: ignore[override]
            """Build the network of a folder or of a repository on the hub.

            Args:
                source: A folder of `save_pretrained`, or a repository such as "user/name".
                **options: Of `PyTorchModelHubMixin`: revision, token, cache_dir, local_files_only, map_location ...;
                    and of `STDNet`: deform_backend, gradient_checkpointing.

            Returns:
                The network in evaluation mode; `meta` holds the facts of its weights.

            Raises:
                InputError: No such folder or repository, no connection, or weights of another kind.
            """
            try:
                return super().from_pretrained(source, **options)
            except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OfflineModeIsEnabled) as error:
                reason = " ".join(str(error).split())
                raise InputError(f"{source}: neither a folder nor a repository that the hub gives ({reason})") from None

        @classmethod
        def _from_pretrained(  # type: ignore[override]
            cls,
            *,
            model_id: str,
            config: Any = None,
            map_location: Any = "cpu",
            strict: bool = True,
            **options: Any,
        ) -> Any:
            """Read the weights; configuration and facts are in their header."""
            keys = ("revision", "cache_dir", "force_download", "token", "local_files_only")
            where = {key: options.pop(key) for key in keys}
            local = Path(model_id)
            path = local / FILE if local.is_dir() else Path(hf_hub_download(repo_id=model_id, filename=FILE, **where))
            return cls._from_file(path, **options).to(map_location)  # type: ignore[attr-defined]

        def _save_pretrained(self, save_directory: Path) -> None:
            """Write weights and config.json; the mixin adds the card."""
            config = dataclasses.asdict(self.config)  # type: ignore[attr-defined]
            meta = json.loads(json.dumps(self.meta, default=str))  # type: ignore[attr-defined]
            write_weights(save_directory / FILE, config, self.state_dict(), meta)  # type: ignore[attr-defined]
            write_json(save_directory / "config.json", {**config, "meta": meta})
