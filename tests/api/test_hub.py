"""`push` and `pull`: readouts go to a repository and come back whole, with a card and without any text of a corpus.

The hub is a server on this machine that speaks the routes of huggingface.co which `huggingface_hub` asks for, and keeps the
commits of its repositories in memory.
"""

import base64
import hashlib
import json
import re

import pytest
import yaml
from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

import amygdala_tl as at
from amygdala_tl.errors import InputError, ReadoutError, StorageError
from amygdala_tl.net.loopback import running_app
from amygdala_tl.readout.card import model_card
from amygdala_tl.readout.hub import hub_url, repository
from amygdala_tl.readout.manifest import read_manifest
from tests.cli.conftest import run
from tests.readout.example import a_readout


class Hub:
    """Repositories: name -> commit -> file -> bytes, the newest commit last."""

    def __init__(self):
        self.repositories = {}
        self.app = Starlette(
            routes=[
                Route("/api/repos/create", self.create, methods=["POST"]),
                Route("/api/validate-yaml", self.validate, methods=["POST"]),
                Route("/api/models/{owner}/{name}/preupload/{revision}", self.preupload, methods=["POST"]),
                Route("/api/models/{owner}/{name}/commit/{revision}", self.commit, methods=["POST"]),
                Route("/api/models/{owner}/{name}", self.about),
                Route("/api/models/{owner}/{name}/revision/{revision}", self.about),
                Route("/api/models/{owner}/{name}/tree/{revision}", self.tree),
                Route("/{owner}/{name}/resolve/{revision}/{path:path}", self.resolve, methods=["GET", "HEAD"]),
            ]
        )

    async def create(self, request):
        asked = await request.json()
        name = "/".join(part for part in (asked.get("organization"), asked["name"]) if part)
        self.repositories.setdefault(name, {"0" * 40: {}})
        return JSONResponse({"url": f"{request.base_url}{name}", "name": name})

    async def validate(self, request):
        head = (await request.json())["content"].split("---")[1]
        assert yaml.safe_load(head)["library_name"] == "amygdala-tl"
        return JSONResponse({"errors": [], "warnings": []})

    async def preupload(self, request):
        files = (await request.json())["files"]
        return JSONResponse(
            {"files": [{"path": each["path"], "uploadMode": "regular", "shouldIgnore": False} for each in files]}
        )

    async def commit(self, request):
        body = await request.body()
        lines = [json.loads(line) for line in body.splitlines() if line.strip()]
        commits = self.repositories["{owner}/{name}".format(**request.path_params)]
        files = dict(list(commits.values())[-1])
        files |= {
            each["value"]["path"]: base64.b64decode(each["value"]["content"]) for each in lines if each["key"] == "file"
        }
        oid = hashlib.sha1(body).hexdigest()
        commits[oid] = files
        url = f"{request.base_url}{request.path_params['owner']}/{request.path_params['name']}/commit/{oid}"
        return JSONResponse({"success": True, "commitOid": oid, "commitUrl": url})

    def found(self, request):
        commits = self.repositories.get("{owner}/{name}".format(**request.path_params))
        revision = request.path_params.get("revision", "main")
        if commits is None:
            return None, {}, Response(status_code=404, headers={"X-Error-Code": "RepoNotFound"})
        oid = list(commits)[-1] if revision == "main" else revision
        if oid not in commits:
            return None, {}, Response(status_code=404, headers={"X-Error-Code": "RevisionNotFound"})
        return oid, commits[oid], None

    async def about(self, request):
        oid, files, refused = self.found(request)
        name = "{owner}/{name}".format(**request.path_params)
        return refused or JSONResponse({"id": name, "sha": oid, "siblings": [{"rfilename": path} for path in files]})

    async def tree(self, request):
        _, files, refused = self.found(request)
        return refused or JSONResponse(
            [
                {"type": "file", "path": path, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
                for path, data in files.items()
            ]
        )

    async def resolve(self, request):
        oid, files, refused = self.found(request)
        if refused is None and request.path_params["path"] not in files:
            refused = Response(status_code=404, headers={"X-Error-Code": "EntryNotFound"})
        if refused is not None:
            return refused
        data = files[request.path_params["path"]]
        about = {
            "ETag": f'"{hashlib.sha256(data).hexdigest()}"',
            "X-Repo-Commit": oid,
            "Content-Length": str(len(data)),
        }
        return Response(data if request.method == "GET" else b"", headers=about)


@pytest.fixture(scope="module")
def hub():
    """The hub with its address."""
    made = Hub()
    with running_app(made.app) as url:
        made.url = url
        yield made


@pytest.fixture
def anyone(monkeypatch, tmp_path, hub):
    """A user of the hub, with a cache of their own."""
    from huggingface_hub import constants

    monkeypatch.setenv("HF_TOKEN", "hf_test")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setattr(constants, "ENDPOINT", hub.url)  # as HF_ENDPOINT does, which is read at the import
    template = hub.url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    return tmp_path


def same(one, other):
    return one.sha256 == other.sha256 and one.manifest_json() == other.manifest_json()


def test_a_readout_comes_back_whole_at_the_commit_it_was_pushed_in(hub, anyone):
    path = a_readout().save(anyone / "mine.safetensors")
    first = at.push(path, "me/moods", texts_license="cc-by-4.0", endpoint=hub.url)
    assert re.fullmatch(r"hf://me/moods@[0-9a-f]{40}", first)
    files = list(hub.repositories["me/moods"].values())[-1]
    assert set(files) == {"readout.safetensors", "readout.json", "README.md"}
    a_readout(seed=1).save(path)
    second = at.push(path, "me/moods", endpoint=hub.url)
    assert first != second
    assert same(at.load_readout(at.pull(first, endpoint=hub.url)), a_readout().written())
    assert same(at.load_readout(at.pull("me/moods", endpoint=hub.url)), a_readout(seed=1).written())
    kept = at.pull("me/moods", anyone / "here", revision=first.partition("@")[2], endpoint=hub.url)
    assert same(at.load_readout(kept), a_readout().written())
    with pytest.raises(ReadoutError, match="cannot be used"):
        at.pull("me/moods@" + "f" * 40, endpoint=hub.url)


def test_a_readout_that_changed_in_the_repository_is_refused(hub, anyone):
    at.push(a_readout().save(anyone / "mine.safetensors"), "me/changed", endpoint=hub.url)
    files = list(hub.repositories["me/changed"].values())[-1]
    files["readout.safetensors"] = a_readout(seed=2).save(anyone / "other.safetensors").read_bytes()
    with pytest.raises(ReadoutError, match="not those the manifest was written for"):
        at.pull("me/changed", endpoint=hub.url)


def test_the_commands_and_load_readout_take_names_of_repositories(capsys, hub, anyone):
    path = a_readout().save(anyone / "mine.safetensors")
    code, out, err = run(capsys, "push", path, "me/commands", "--private", "--json")
    assert (code, err.count("\n")) == (0, 1)
    assert 'the card will say "not stated"' in err
    pushed = json.loads(out)["readout"]
    code, pulled, _ = run(capsys, "pull", pushed, "--output-dir", anyone / "there", "--json")
    assert (code, json.loads(pulled)) == (0, {"readout": str(anyone / "there" / "readout.safetensors")})
    assert same(at.load_readout(pushed), at.load_readout(anyone / "there" / "readout.safetensors"))
    code, out, err = run(capsys, "inspect", pushed)
    assert (code, "3 concepts x 2 layers" in out) == (0, True), err
    code, _, err = run(
        capsys, "export", "--readout", pushed, "--concept", "joy", "--output", anyone / "joy.safetensors"
    )
    assert (code, at.load_readout(anyone / "joy.safetensors").concepts) == (0, ("joy",)), err
    code, _, err = run(capsys, "pull", "me/nowhere")
    assert code == 2
    assert "me/nowhere" in err


def test_a_folder_is_a_repository_too(anyone):
    path = a_readout().save(anyone / "mine.safetensors")
    vectors = at.push(path, str(anyone / "folder"))
    assert {each.name for each in (anyone / "folder").iterdir()} == {"readout.safetensors", "readout.json", "README.md"}
    assert same(at.load_readout(vectors), at.load_readout(at.pull(str(anyone / "folder"), anyone / "again")))
    (anyone / "foreign").mkdir()
    (anyone / "foreign" / "README.md").write_text("# Mine\n")
    with pytest.raises(StorageError, match="another kind of file"):
        at.push(path, str(anyone / "foreign"))


def test_a_hub_that_does_not_answer_is_one_error(anyone):
    with pytest.raises(ReadoutError, match="me/moods"):
        at.pull("me/moods", endpoint="http://127.0.0.1:9")


def test_names_of_repositories():
    assert hub_url("hf://a/b") == hub_url("hf:/a/b") == "a/b"
    assert hub_url("hf://a/b@v1") == "a/b@v1"
    assert hub_url("a/b") is None
    assert repository("a/b@v1") == ("a/b", "v1")
    for wrong in ("moods", "a/b/c", "a b/c", "hf://a"):
        with pytest.raises(InputError, match="not a repository"):
            repository(wrong)
    with pytest.raises(InputError, match="two revisions"):
        repository("a/b@v1", "v2")


def test_the_card_says_verdicts_intervals_and_what_the_readout_is_not_for():
    manifest = read_manifest(a_readout(("awe", "joy|x", "grief")).manifest_json().encode(), "m")
    card = model_card(manifest, "cc-by-4.0")
    head = yaml.safe_load(card.split("---")[1])
    assert (head["license"], head["library_name"]) == ("cc-by-4.0", "amygdala-tl")
    assert "| awe | readable | 0.875 | 0.750 | 0.938 | 10 | 9 | 30 |" in card
    assert "## Not for" in card
    assert "not stated" in model_card(manifest)
    unjudged = read_manifest(a_readout(verdicts={}).manifest_json().encode(), "m")
    assert "was not judged" in model_card(unjudged)
