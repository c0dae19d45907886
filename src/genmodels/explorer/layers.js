// Computes the networks that export.py describes. Values are flat arrays, one example after another.
"use strict";

const Layers = (() => {
    function bytes(text) {
        if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text);  // ten times as fast; browsers of 2025 have it
        const binary = atob(text), found = new Uint8Array(binary.length);
        for (let i = 0; i < found.length; i++) found[i] = binary.charCodeAt(i);
        return found;
    }

    // Returns the numbers of a text that export.pack wrote, as the given kind of typed array.
    async function unpack(text, Kind) {
        const stream = new Blob([bytes(text)]).stream().pipeThrough(new DecompressionStream("deflate"));
        const mixed = new Uint8Array(await new Response(stream).arrayBuffer()), size = Kind.BYTES_PER_ELEMENT, count = mixed.length / size;
        if (size == 1) return mixed;
        const whole = new Uint8Array(mixed.length);
        for (let place = 0; place < size; place++) for (let i = 0; i < count; i++) whole[i * size + place] = mixed[place * count + i];
        return new Kind(whole.buffer);
    }

    // Returns float32 numbers from the bits of float16 ones: sign, 5 bits of exponent, 10 bits of fraction.
    function fromHalf(bits) {
        const table = halfTable(), numbers = new Float32Array(bits.length);
        for (let i = 0; i < bits.length; i++) numbers[i] = table[bits[i]];
        return numbers;
    }

    let halves = null;
    function halfTable() {
        if (halves) return halves;
        halves = new Float32Array(65536);
        for (let bits = 0; bits < 65536; bits++) {
            const exponent = bits >> 10 & 31, fraction = bits & 1023;
            const size = exponent ? (1 + fraction / 1024) * 2 ** (exponent - 15) : fraction * 2 ** -24;
            halves[bits] = bits >> 15 ? -size : size;
        }
        return halves;
    }

    // Returns a network ready to run, from what export.Network.as_json wrote.
    async function load({ layers, output, shape, exact, weights }) {
        const numbers = exact ? await unpack(weights, Float32Array) : fromHalf(await unpack(weights, Uint16Array));
        const ready = layers.map(layer => {
            if (!KINDS[layer.kind]) throw new Error(`unknown layer: ${layer.kind}`);
            const arrays = Object.entries(layer.arrays)
                .map(([name, [start, count]]) => [name, numbers.subarray(start, start + count)]);
            return { ...layer, ...Object.fromEntries(arrays), units: size(layer.shape) };
        });
        return { layers: ready, output, shape, inputs: ready.filter(layer => layer.kind == "input").length };
    }

    const size = shape => shape.reduce((product, side) => product * side, 1);

    // Runs a network on a batch and returns its output. `inputs` is one flat array for each input.
    function run(network, inputs, batch) {
        const values = [];
        network.layers.forEach((layer, place) => {
            const given = layer.kind == "input" ? [inputs[place]] : layer.inputs.map(input => values[input]);
            values.push(KINDS[layer.kind](layer, given, batch));
        });
        return values[network.output];
    }

    // Multiplies each row of x (count, width) by each row of the kernel (units, width) and adds the bias. Two rows and
    // four units at a time read each number once for several products.
    function multiply(kernel, bias, x, count, width, units) {
        const y = new Float32Array(count * units);
        let unit = 0;
        for (; unit + 4 <= units; unit += 4) for (let row = 0; row < count; row += 2) {
            const k = unit * width, l = k + width, m = l + width, n = m + width;
            const p = row * width, q = row + 1 < count ? p + width : p;
            let a = 0, b = 0, c = 0, d = 0, e = 0, f = 0, g = 0, h = 0;
            for (let i = 0; i < width; i++) {
                const v = x[p + i], w = x[q + i];
                const first = kernel[k + i], second = kernel[l + i], third = kernel[m + i], fourth = kernel[n + i];
                a += v * first; b += v * second; c += v * third; d += v * fourth;
                e += w * first; f += w * second; g += w * third; h += w * fourth;
            }
            const r = row * units + unit, s = q == p ? r : r + units;
            y[s] = e; y[s + 1] = f; y[s + 2] = g; y[s + 3] = h;
            y[r] = a; y[r + 1] = b; y[r + 2] = c; y[r + 3] = d;
        }
        for (; unit < units; unit++) for (let row = 0; row < count; row++) {
            let sum = 0;
            for (let i = 0; i < width; i++) sum += x[row * width + i] * kernel[unit * width + i];
            y[row * units + unit] = sum;
        }
        if (bias) for (let i = 0; i < y.length; i++) y[i] += bias[i % units];
        return y;
    }

    // gelu(x) = x F(x), with the normal distribution function F. A table has F at each STEP of [-RANGE, RANGE], computed
    // by Simpson's rule; between them it is linear, with an error below 1e-8.
    const STEP = 1 / 2048, RANGE = 6;
    let table = null;
    function normalTable() {
        if (table) return table;
        const density = x => Math.exp(-x * x / 2) / Math.sqrt(2 * Math.PI), count = 2 * RANGE / STEP;
        table = new Float64Array(count + 2).fill(1);
        table[0] = 9.8659e-10;  // F(-6)
        for (let i = 0; i < count; i++) {
            const x = i * STEP - RANGE;
            table[i + 1] = table[i] + STEP / 6 * (density(x) + 4 * density(x + STEP / 2) + density(x + STEP));
        }
        return table;
    }

    function gelu(x) {
        if (x <= -RANGE) return 0;
        if (x >= RANGE) return x;
        const place = (x + RANGE) / STEP, i = Math.floor(place);
        return x * (table[i] + (place - i) * (table[i + 1] - table[i]));
    }

    const sigmoid = x => 1 / (1 + Math.exp(-x));

    // The mean of a continuous Bernoulli pixel, see distributions.continuous_bernoulli_mean.
    function continuousMean(logit) {
        const size = Math.abs(logit);
        if (size < 0.01) return 0.5 + logit / 12;
        const mean = 1 / (1 - Math.exp(-size)) - 1 / size;
        return logit > 0 ? mean : 1 - mean;
    }

    const ACTIVATIONS = { gelu, sigmoid, tanh: Math.tanh, relu: x => x > 0 ? x : 0 };

    // The place of an output pixel's first input pixel, with the padding "same".
    const before = (from, kernel, stride, to) => Math.floor(Math.max((to - 1) * stride + kernel - from, 0) / 2);

    function convolution(layer, [x], batch) {
        const [height, width, channels] = layer.from, [rows, columns, units] = layer.shape;
        const [tall, wide] = layer.size, { stride } = layer, patch = tall * wide * channels;
        const top = before(height, tall, stride, rows), left = before(width, wide, stride, columns);
        const patches = new Float32Array(batch * rows * columns * patch);
        let at = 0;
        for (let e = 0; e < batch; e++) for (let i = 0; i < rows; i++) for (let j = 0; j < columns; j++)
            for (let u = 0; u < tall; u++) for (let v = 0; v < wide; v++, at += channels) {
                const row = i * stride + u - top, column = j * stride + v - left;
                if (row < 0 || row >= height || column < 0 || column >= width) continue;
                const from = ((e * height + row) * width + column) * channels;
                patches.set(x.subarray(from, from + channels), at);
            }
        return multiply(layer.kernel, layer.bias, patches, batch * rows * columns, patch, units);
    }

    // Each input pixel adds its patch to the output, as the gradient of a convolution does.
    function convTranspose(layer, [x], batch) {
        const [height, width, channels] = layer.from, [rows, columns, units] = layer.shape;
        const [tall, wide] = layer.size, { stride } = layer, patch = tall * wide * units;
        const top = before(rows, tall, stride, height), left = before(columns, wide, stride, width);
        const patches = multiply(layer.kernel, null, x, batch * height * width, channels, patch);
        const y = new Float32Array(batch * rows * columns * units);
        for (let i = 0; i < y.length; i++) y[i] = layer.bias[i % units];
        let at = 0;
        for (let e = 0; e < batch; e++) for (let i = 0; i < height; i++) for (let j = 0; j < width; j++)
            for (let u = 0; u < tall; u++) for (let v = 0; v < wide; v++, at += units) {
                const row = i * stride + u - top, column = j * stride + v - left;
                if (row < 0 || row >= rows || column < 0 || column >= columns) continue;
                const to = ((e * rows + row) * columns + column) * units;
                for (let unit = 0; unit < units; unit++) y[to + unit] += patches[at + unit];
            }
        return y;
    }

    function fourier({ frequencies, units }, [z], batch) {
        const axes = z.length / batch, y = new Float32Array(batch * units);
        for (let e = 0; e < batch; e++) for (let axis = 0; axis < axes; axis++) {
            const value = z[e * axes + axis], first = e * units + axis;
            y[first] = value;
            for (let k = 0; k < frequencies; k++) {
                const angle = Math.fround(Math.PI / 8 * 2 ** k * value);
                y[first + (1 + k) * axes] = Math.sin(angle);
                y[first + (1 + frequencies + k) * axes] = Math.cos(angle);
            }
        }
        return y;
    }

    function concatenate({ units }, given, batch) {
        const y = new Float32Array(batch * units);
        let start = 0;
        for (const x of given) {
            const width = x.length / batch;
            for (let e = 0; e < batch; e++) y.set(x.subarray(e * width, (e + 1) * width), e * units + start);
            start += width;
        }
        return y;
    }

    function slice({ start, units }, [x], batch) {
        const width = x.length / batch, y = new Float32Array(batch * units);
        for (let e = 0; e < batch; e++) y.set(x.subarray(e * width + start, e * width + start + units), e * units);
        return y;
    }

    function depthToSpace({ shape: [rows, columns, channels] }, [x], batch) {
        const y = new Float32Array(batch * rows * columns * channels);
        for (let e = 0, to = 0; e < batch; e++) for (let i = 0; i < rows; i++) for (let j = 0; j < columns; j++)
            for (let channel = 0; channel < channels; channel++) {
                const block = (e * rows / 2 + (i >> 1)) * columns / 2 + (j >> 1);
                y[to++] = x[((block * 2 + i % 2) * 2 + j % 2) * channels + channel];
            }
        return y;
    }

    // The shares of a window's offsets along one axis, see layers.ReadWriteWindow.
    function shares(layer, weights, position) {
        const { cells, sharpness, settled } = layer, all = [...Array(cells).keys()];
        const logits = all.map(cell => sharpness * position.reduce((sum, p, i) => sum + p * weights[i * cells + cell], 0));
        const powers = logits.map(logit => Math.exp(logit - Math.max(...logits)));
        const total = powers.reduce((sum, power) => sum + power, 0), found = powers.map(power => power / total);
        return found.some(share => share > settled) ? found.map(share => share > settled ? 1 : 0) : found;
    }

    function windowed(layer, [digits, positions], batch) {
        const { cells, stride, shape: [canvas] } = layer, side = canvas - (cells - 1) * stride;
        const y = new Float32Array(batch * canvas * canvas).fill(layer.background[0]);
        for (let e = 0; e < batch; e++) {
            const position = [...positions.subarray(e * 2 * cells, (e + 1) * 2 * cells)];
            const across = shares(layer, layer.columns, position.slice(0, cells));
            shares(layer, layer.rows, position.slice(cells)).forEach((down, row) => across.forEach((share, column) => {
                if (!(down * share)) return;
                for (let i = 0; i < side; i++) for (let j = 0; j < side; j++)
                    y[(e * canvas + row * stride + i) * canvas + column * stride + j] +=
                        down * share * digits[(e * side + i) * side + j];
            }));
        }
        return y;
    }

    // One function for each kind of layer: the layer, the values that it takes and the size of the batch give its value.
    const KINDS = {
        input: (layer, [x]) => x,
        dense: (layer, [x], batch) =>
            multiply(layer.kernel, layer.bias, x, batch, layer.kernel.length / layer.units, layer.units),
        activation: ({ name }, [x]) => {
            normalTable();
            return x.map(ACTIVATIONS[name]);
        },
        scale: ({ scale, shift }, [x]) => x.map((value, i) => value * scale[i % scale.length] + shift[i % scale.length]),
        convolution, convTranspose, fourier, concatenate, slice, depthToSpace, window: windowed,
    };

    // Turns noise into codes as flow.RealNVP.inverse does: undoes the couplings, the last one first.
    function fromNoise({ networks, latentDim, largestLogScale }, noise, context, batch) {
        const half = Math.floor(latentDim / 2), z = Float32Array.from(noise);
        const starts = [0, half], widths = [half, latentDim - half];
        for (let turn = networks.length - 1; turn >= 0; turn--) {
            const kept = turn % 2, moved = 1 - kept, width = widths[moved];
            const given = slice({ start: starts[kept], units: widths[kept] }, [z], batch);
            const found = run(networks[turn], [given, context], batch);
            for (let e = 0; e < batch; e++) for (let i = 0; i < width; i++) {
                const to = e * latentDim + starts[moved] + i, from = 2 * e * width + i;
                const logScale = largestLogScale * Math.tanh(found[from] / largestLogScale);
                z[to] = (z[to] - found[from + width]) * Math.exp(-logScale);
            }
        }
        return z;
    }

    return { unpack, fromHalf, load, run, fromNoise, sigmoid, continuousMean };
})();
