// What a clip looks like: log-mel power as a model's front end takes it (25 ms Hann windows every
// 10 ms at 16 kHz, an FFT of 512), and how that is drawn below the waveform.
const RATE_HZ = 16000, WINDOW = 400, HOP = 160, FFT = 512, BANDS = 80, RANGE_DB = 80;
const MOST_COLUMNS = 800, MOST_WINDOWS = 8;  // of the picture; of one column of a long clip
const PICTURE = {left: 34, right: 8, wave: 44, gap: 6, mel: 112, axis: 18};
const mel = hz => 2595 * Math.log10(1 + hz / 700);
const hertz = mels => 700 * (10 ** (mels / 2595) - 1);

// Band power in decibels below the loudest, [columns x BANDS].
function melSpectrogram(samples) {
  const frames = Math.max(1, Math.floor(samples.length / HOP));
  const columns = Math.min(frames, MOST_COLUMNS);
  const windows = Math.min(MOST_WINDOWS, Math.ceil(frames / columns));
  const filters = melFilters();
  const decibels = new Float32Array(columns * BANDS).fill(-RANGE_DB);
  const power = new Float64Array(FFT / 2 + 1);
  for (let column = 0; column < columns; column++) {
    power.fill(0);
    for (let w = 0; w < windows; w++)
      addPower(power, samples, Math.floor((column + w / windows) * samples.length / columns));
    filters.forEach(({first, weights}, band) => {
      const sum = weights.reduce((total, weight, bin) => total + weight * power[first + bin], 0);
      decibels[column * BANDS + band] = 10 * Math.log10(Math.max(sum / windows, 1e-10));
    });
  }
  const loudest = decibels.reduce((most, value) => Math.max(most, value), -Infinity);
  return {columns, decibels: decibels.map(value => Math.max(value - loudest, -RANGE_DB))};
}

const HANN = Float64Array.from({length: WINDOW}, (_, n) => 0.5 - 0.5 * Math.cos(2 * Math.PI * n / WINDOW));

function addPower(power, samples, start) {
  const real = new Float64Array(FFT), imaginary = new Float64Array(FFT);
  const length = Math.min(WINDOW, samples.length - start);
  for (let n = 0; n < length; n++) real[n] = samples[start + n] * HANN[n];
  transform(real, imaginary);
  for (let bin = 0; bin < power.length; bin++) power[bin] += real[bin] ** 2 + imaginary[bin] ** 2;
}

// The fast Fourier transform of Cooley and Tukey, in place.
function transform(real, imaginary) {
  const size = real.length;
  for (let n = 1, reversed = 0; n < size; n++) {
    let bit = size >> 1;
    for (; reversed & bit; bit >>= 1) reversed ^= bit;
    reversed ^= bit;
    if (n < reversed) {
      [real[n], real[reversed]] = [real[reversed], real[n]];
      [imaginary[n], imaginary[reversed]] = [imaginary[reversed], imaginary[n]];
    }
  }
  for (let half = 1; half < size; half *= 2)
    for (let k = 0; k < half; k++) {
      const cosine = Math.cos(Math.PI * k / half), sine = -Math.sin(Math.PI * k / half);
      for (let n = k; n < size; n += 2 * half) {
        const m = n + half;
        const re = real[m] * cosine - imaginary[m] * sine, im = real[m] * sine + imaginary[m] * cosine;
        real[m] = real[n] - re; imaginary[m] = imaginary[n] - im;
        real[n] += re; imaginary[n] += im;
      }
    }
}

// Triangles of equal width in mel: the first bin and the weights of each.
function melFilters() {
  const edge = n => hertz(mel(RATE_HZ / 2) * n / (BANDS + 1)) * FFT / RATE_HZ;
  return Array.from({length: BANDS}, (_, band) => {
    const [low, middle, high] = [edge(band), edge(band + 1), edge(band + 2)];
    const first = Math.ceil(low), weights = [];
    for (let bin = first; bin < high; bin++)
      weights.push(Math.min((bin - low) / (middle - low), (high - bin) / (high - middle)));
    // A band narrower than a bin takes the nearest one.
    return weights.some(weight => weight > 0) ? {first, weights} : {first: Math.round(middle), weights: [1]};
  });
}

// The picture.
function drawPicture(canvas, samples, heard) {
  const {left, right, wave, gap, mel: height, axis} = PICTURE;
  const width = canvas.parentElement.clientWidth, plot = width - left - right, top = wave + gap;
  const sharp = window.devicePixelRatio || 1;
  canvas.width = width * sharp;
  canvas.height = (top + height + axis) * sharp;
  canvas.style.height = `${top + height + axis}px`;
  const pen = canvas.getContext("2d"), style = getComputedStyle(canvas);
  pen.scale(sharp, sharp);
  pen.fillStyle = style.getPropertyValue("--accent");
  drawWave(pen, samples, left, plot, wave);
  pen.imageSmoothingEnabled = false;
  pen.drawImage(melImage(heard), left, top, plot, height);
  pen.fillStyle = style.getPropertyValue("--quiet");
  pen.font = "11px system-ui, sans-serif";
  pen.textAlign = "right";
  for (const hz of [250, 1000, 2000, 4000]) {
    const y = top + height * (1 - mel(hz) / mel(RATE_HZ / 2));
    pen.fillRect(left - 4, y, 4, 1);
    pen.fillText(hz < 1000 ? String(hz) : `${hz / 1000}k`, left - 7, y + 4);
  }
  pen.fillText("Hz", left - 7, top + 9);
  drawTimes(pen, samples.length / RATE_HZ, left, plot, top + height);
}

function drawWave(pen, samples, left, plot, height) {
  const loudest = samples.reduce((most, value) => Math.max(most, Math.abs(value)), 1e-6);
  for (let x = 0; x < plot; x++) {
    let low = 0, high = 0;
    const end = Math.floor((x + 1) * samples.length / plot);
    for (let n = Math.floor(x * samples.length / plot); n < end; n++) {
      low = Math.min(low, samples[n]);
      high = Math.max(high, samples[n]);
    }
    const y = height / 2 * (1 - high / loudest);
    pen.fillRect(left + x, y, 1, Math.max(1, height / 2 * (1 - low / loudest) - y));
  }
}

function drawTimes(pen, seconds, left, plot, y) {
  const steps = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120];
  const step = steps.find(one => one / seconds * plot >= 44) || 300;
  pen.textAlign = "center";
  for (let n = 0; n * step <= seconds; n++) {
    const x = left + plot * n * step / seconds;
    pen.fillRect(x, y, 1, 4);
    const isRoom = x + 12 < left + plot;
    if (isRoom) pen.fillText(`${+(n * step).toFixed(1)}${n ? "" : " s"}`, x, y + 15);
  }
}

function melImage({columns, decibels}) {
  const image = new ImageData(columns, BANDS);
  for (let column = 0; column < columns; column++)
    for (let band = 0; band < BANDS; band++) {
      const place = 4 * ((BANDS - 1 - band) * columns + column);
      image.data.set([...colour(1 + decibels[column * BANDS + band] / RANGE_DB), 255], place);
    }
  const made = document.createElement("canvas");
  made.width = columns;
  made.height = BANDS;
  made.getContext("2d").putImageData(image, 0, 0);
  return made;
}

const MAGMA = [[0, 0, 4], [59, 15, 112], [140, 41, 129], [222, 73, 104], [254, 159, 109], [252, 253, 191]];

function colour(share) {
  const place = share * (MAGMA.length - 1), below = Math.min(Math.floor(place), MAGMA.length - 2);
  return MAGMA[below].map((value, n) => value + (place - below) * (MAGMA[below + 1][n] - value));
}
