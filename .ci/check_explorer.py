"""Compare the explorer's networks, run by a real browser on 1,000 inputs, with Keras; then check the pages themselves.

One page has the models of the report, another a VAE that is trained here for some seconds on other images.

With the same float16-rounded weights the outputs may differ by 1e-4. Beside the trained float32 weights at most one
grey level in 99.9 % of the pixels, and a code by 0.01.
"""

import base64
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "explorer"))
COUNT = 1_000
ALIKE = 1e-4  # largest difference from Keras with the same weights
LEVELS, SHARE, CODE = 1, 0.999, 0.01  # grey levels, share of the pixels that keep to them, units of a code


def case(name, network, *inputs, page=None, kind="kind"):
    """Return one network with its inputs, and what Keras computes with rounded and with its own weights."""
    from genmodels.explorer.export import describe, rounded_weights

    def predict():
        given = inputs if len(inputs) > 1 else inputs[0]
        return network.predict(given if len(inputs) == 1 else list(given), batch_size=500, verbose=0)

    description = describe(network)
    with rounded_weights(description):
        alike = predict()
    given = [flat(values) for values in inputs]
    told = {"part": page} if page else {"network": description.as_json()}
    return {"name": name, "kind": kind, **told, "inputs": given}, alike, predict()


def flat(values):
    return base64.b64encode(np.ascontiguousarray(values, "<f4").tobytes()).decode("ascii")


def kinds(rng):
    """Yield a small network for each kind of layer, from the tests."""
    from test_export import NETWORKS, shaken

    for name, build in NETWORKS.items():
        network = shaken(build(), rng)
        yield case(name, network, rng.normal(0, 1, (COUNT, *network.input_shape[1:])).astype("float32"))


def models(rng):
    """Yield the networks of the page."""
    from genmodels import load_mnist
    from genmodels.explorer.scores import CVAES, MODELS
    from genmodels.models.conditional_vae import one_hot_condition
    from genmodels.pipeline.store import trained

    of = {name: trained(run).model for name, run in MODELS.items()}
    images = load_mnist().test.images[:COUNT]
    plane = rng.uniform(-5, 5, (COUNT, 2)).astype("float32")
    for name, given in (("ae", images), ("vae", (images >= 0.5).astype("float32"))):
        yield case(f"{name} decoder", of[name].decoder, plane, page=f"{name}-decoder", kind="picture")
        yield case(f"{name} encoder", of[name].encoder, given, page=f"{name}-encoder", kind="code")
    conditions = rng.integers(0, (10, 3, 3), (COUNT, 3))
    placed = np.array(one_hot_condition(conditions))
    labels = np.ascontiguousarray(placed[:, :10])
    for name in CVAES:
        noise = rng.normal(0, 1, (COUNT, of[name].latent_dim)).astype("float32")
        z = of[name].from_noise(noise, conditions)
        yield case(f"{name} decoder", of[name].decoder, z, placed, page=f"{name}-decoder", kind="picture")
        given = [flat(noise), flat(labels)]
        yield {"name": f"{name} flow", "kind": "code", "flow": f"{name}-flow", "inputs": given}, z, z
    gan = of["gan"]
    noise = rng.normal(0, 1, (COUNT, gan.noise_dim)).astype("float32")
    yield case("gan generator", gan.averaged_generator, noise, labels, page="gan-generator", kind="picture")


def own(folder, rng):
    """Train a VAE of six axes on digits of 8x8 pixels, write its page, and return the page and its cases."""
    from sklearn.datasets import load_digits

    from genmodels.models.loading import load_model

    digits, model = load_digits(), folder / "small.keras"
    np.savez(folder / "digits.npz", images=(digits.images * 255 / 16).astype("uint8"), labels=digits.target)
    data = ("--data", folder / "digits.npz")
    for command in (
        ["fit", "vae", *data, "--latent-dim", "6", "--epochs", "5", "-o", model],
        ["explore", model, *data],
    ):
        subprocess.run([sys.executable, "-m", "genmodels", *map(str, command)], check=True)
    vae, codes = load_model(model), rng.normal(0, 1.5, (COUNT, 6)).astype("float32")
    images = vae.decode(codes)
    shown = {"name": "own VAE, as shown", "kind": "image", "decode": True, "inputs": [flat(codes)]}
    return model.with_suffix(".html"), [
        case("own VAE decoder", vae.decoder, codes, page="decoder"),
        (shown, images, images),
    ]


def faults(told, found, alike, own):
    """Describe the differences of one network, and yield those that are too large."""
    apart = np.abs(found - alike.reshape(found.shape)).max()
    text = f"{told['name']:35} same weights: {apart:.1e}"
    if apart > ALIKE and told["kind"] != "image":
        yield f"{told['name']}: differs by {apart:.2g} from Keras with the same weights, more than {ALIKE}"
    own = own.reshape(found.shape)
    if told["kind"] in ("image", "picture"):
        drawn, expected = (np.rint(255 * _image(told["kind"], values)) for values in (found, own))
        away = np.abs(drawn - expected)
        share = (away <= LEVELS).mean()
        text += f"; float32: {share:.4%} within {LEVELS} level, at most {away.max():.0f}"
        if share < SHARE:
            yield f"{told['name']}: {share:.4%} of the pixels within {LEVELS} level of Keras, expected {SHARE:.1%}"
    elif told["kind"] == "code":
        text += f"; float32: {np.abs(found - own).max():.1e}"
        if np.abs(found - own).max() > CODE:
            yield f"{told['name']}: codes differ by {np.abs(found - own).max():.2g} from Keras, more than {CODE}"
    print(text, flush=True)


def _image(kind, values):
    """Return the image that the browser shows: of a decoder's logits by the sigmoid."""
    return values if kind == "image" else 1 / (1 + np.exp(-values.astype("float64")))


def check(page, cases, folder):
    """Check one page in the browser, and its cases. Return whether something is wrong."""
    asked, answered, wrong = folder / "asked.json", folder / "answered.json", []
    answered.unlink(missing_ok=True)
    asked.write_text(json.dumps([told for told, *_ in cases]))
    done = subprocess.run(["node", ROOT / ".ci" / "check_explorer.mjs", page, asked, answered])
    outputs = json.loads(answered.read_text()) if answered.is_file() else []
    for (told, *expected), output in zip(cases, outputs):
        found = np.frombuffer(base64.b64decode(output), "<f4").reshape(COUNT, -1)
        wrong += faults(told, found, *expected)
    print("\n".join(wrong) if wrong else f"{len(outputs)} networks draw in the browser what they draw in Keras")
    return bool(wrong or done.returncode or len(outputs) < len(cases))


def main(page):
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bad = check(page, [*kinds(rng), *models(rng)], folder)
        return check(*own(folder, rng), folder) or bad


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "report" / "explorer.html")))
