"""`push`: a readout, with its card, into a repository of the Hugging Face Hub or a folder that is laid out like one."""

from pathlib import Path

from amygdala_tl.files import Kind, atomic_write_bytes, check_outputs, make_folder, read_file
from amygdala_tl.readout.bundle import outputs, read_bundle
from amygdala_tl.readout.card import CARD, model_card
from amygdala_tl.readout.hub import VECTORS, hub_errors, is_folder, on_disk, repository


def push(
    readout: str | Path,
    repo: str,
    *,
    private: bool = False,
    texts_license: str | None = None,
    endpoint: str | None = None,
) -> str:
    """Publish a bundle with a model card; no text of its corpus leaves this machine.

    Args:
        readout: path of the bundle's vectors, or `hf://owner/name`.
        repo: `owner/name`, made if it is not there yet; or a folder.
        private: of a new repository.
        texts_license: of the texts that the readout was trained on, for the card.
        endpoint: address of the hub; that of HF_ENDPOINT, or huggingface.co, if None.

    Returns:
        What `load_readout` takes: `hf://owner/name@commit`, or the path of the vectors in the folder.

    Raises:
        InputError: `repo` is neither, or the folder is the bundle's own.
        ReadoutError: the bundle is damaged, or the hub cannot be reached or refuses.
        StorageError: another kind of file is in the way, or the disk refused.
    """
    readout = on_disk(readout)
    manifest, _, _ = read_bundle(readout)
    named = zip(outputs(readout), outputs(VECTORS).items(), strict=True)
    files: dict[str, tuple[bytes, Kind]] = {
        target.name: (read_file(source, remedy="check the path"), kind)
        for source, (target, kind) in named
        if source.exists()
    }
    files["README.md"] = model_card(manifest, texts_license).encode(), CARD
    if is_folder(repo):
        folder = Path(repo).expanduser()
        check_outputs({folder / name: kind for name, (_, kind) in files.items()}, outputs(readout))
        make_folder(folder)
        for name, (data, kind) in files.items():
            atomic_write_bytes(folder / name, data, kind)
        return str(folder / VECTORS)
    name, revision = repository(repo)
    from huggingface_hub import CommitOperationAdd, HfApi

    with hub_errors(name):
        api = HfApi(endpoint=endpoint, library_name="amygdala-tl")
        api.create_repo(name, private=private, exist_ok=True)
        added = [CommitOperationAdd(path, data) for path, (data, _) in files.items()]
        commit = api.create_commit(name, added, commit_message="Add a readout", revision=revision)
    return f"hf://{name}@{commit.oid}"
