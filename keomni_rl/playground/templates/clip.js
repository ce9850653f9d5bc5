// The clip: recorded, chosen or dropped, drawn, and in a form that the server reads. What it does
// not read (a recording's WebM, M4A) is decoded here and becomes a WAV file of 16 kHz.
const clip = (() => {
  const READ_AS_IT_IS = /\.(wav|flac|ogg|oga|mp3)$/i;
  const RATE_HZ = 16000;
  const limits = JSON.parse(document.getElementById("limits").textContent);
  const byId = id => document.getElementById(id);
  const player = byId("player"), wave = byId("wave"), record = byId("record"), drop = byId("drop");
  let file = null, samples = null, shown = {}, recorder = null, timer = null, taken = 0;

  async function decoded(blob) {
    const context = new OfflineAudioContext({numberOfChannels: 1, length: 1, sampleRate: RATE_HZ});
    const sound = await context.decodeAudioData(await blob.arrayBuffer());  // at the context's rate
    const left = sound.getChannelData(0);
    if (sound.numberOfChannels === 1) return left;
    const right = sound.getChannelData(1);
    return left.map((value, index) => (value + right[index]) / 2);
  }

  function wavFile(samples, name) {
    const bytes = new DataView(new ArrayBuffer(44 + 2 * samples.length));
    const text = (at, word) => [...word].forEach((letter, i) => bytes.setUint8(at + i, letter.charCodeAt(0)));
    text(0, "RIFF"); bytes.setUint32(4, 36 + 2 * samples.length, true); text(8, "WAVEfmt ");
    bytes.setUint32(16, 16, true); bytes.setUint16(20, 1, true); bytes.setUint16(22, 1, true);
    bytes.setUint32(24, RATE_HZ, true); bytes.setUint32(28, 2 * RATE_HZ, true);
    bytes.setUint16(32, 2, true); bytes.setUint16(34, 16, true);
    text(36, "data"); bytes.setUint32(40, 2 * samples.length, true);
    samples.forEach((value, i) => bytes.setInt16(44 + 2 * i, Math.max(-1, Math.min(1, value)) * 32767, true));
    return new File([bytes.buffer], name, {type: "audio/wav"});
  }

  async function take(blob, name) {
    forget();
    if (blob.size > limits.maxBytes) {
      return tell(`${name} has ${(blob.size / 2 ** 20).toFixed(1)} MiB, at most ${limits.maxBytes / 2 ** 20} MiB are allowed; cut it or compress it.`);
    }
    const isRead = READ_AS_IT_IS.test(name), turn = ++taken;
    const heard = await decoded(blob).catch(() => null);
    if (turn !== taken) return;  // another clip came meanwhile
    if (!heard && !isRead) return tell(`${name} is no sound that this browser can read; give wav, flac, ogg or mp3.`);
    const seconds = heard ? heard.length / RATE_HZ : null;
    if (seconds > limits.maxSeconds) {
      return tell(`${name} lasts ${seconds.toFixed(1)} s, at most ${limits.maxSeconds} s are allowed; cut it.`);
    }
    samples = heard;
    file = isRead ? new File([blob], name) : wavFile(samples, "recording.wav");
    byId("clip-name").textContent = name + (seconds ? `, ${seconds.toFixed(1)} s` : ", which this browser cannot show");
    player.src = URL.createObjectURL(file);
    byId("clip").hidden = false;
    draw();
  }

  function forget() {
    tell();
    file = samples = null;
    byId("clip").hidden = true;
    if (player.src) URL.revokeObjectURL(player.src);
    player.removeAttribute("src");
  }

  // The waveform, with what was played in the colour of accents; a click goes there.
  function draw() {
    if (!samples || byId("clip").hidden) return wave.getContext("2d").clearRect(0, 0, wave.width, wave.height);
    const scale = window.devicePixelRatio || 1, pen = wave.getContext("2d");
    const width = wave.width = wave.clientWidth * scale, height = wave.height = wave.clientHeight * scale;
    const colour = name => getComputedStyle(document.documentElement).getPropertyValue(name);
    const played = player.duration ? player.currentTime / player.duration * width : 0;
    const bar = 3 * scale, bars = peaks(Math.max(1, Math.floor(width / bar)));
    const [before, after, loudest] = [colour("--accent"), colour("--quiet"), Math.max(1e-4, ...bars)];
    bars.forEach((peak, index) => {
      const tall = Math.max(scale, peak / loudest * (height - 8 * scale));
      pen.fillStyle = index * bar < played ? before : after;
      pen.fillRect(index * bar, (height - tall) / 2, bar - scale, tall);
    });
  }

  function peaks(count) {
    if (shown.samples === samples && shown.bars.length === count) return shown.bars;
    const bars = new Array(count).fill(0);
    samples.forEach((value, i) => {
      const at = Math.floor(i / samples.length * count);
      bars[at] = Math.max(bars[at], Math.abs(value));
    });
    shown = {samples, bars};
    return bars;
  }

  function follow() {
    draw();
    if (!player.paused) requestAnimationFrame(follow);
  }
  player.addEventListener("play", follow);
  player.addEventListener("seeked", draw);
  player.addEventListener("ended", draw);
  wave.addEventListener("click", event => {
    if (player.duration) player.currentTime = event.offsetX / wave.clientWidth * player.duration;
  });
  new ResizeObserver(draw).observe(wave);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);

  // Recording.
  async function start() {
    let stream;
    try {
      stream = await navigator.mediaDevices.getUserMedia(
        {audio: {echoCancellation: false, noiseSuppression: false, autoGainControl: false}});
    } catch (error) {
      return tell(`No recording: ${error.message || error.name}. Allow the microphone, or choose a file.`);
    }
    const chunks = [];
    recorder = new MediaRecorder(stream);
    recorder.addEventListener("dataavailable", event => chunks.push(event.data));
    recorder.addEventListener("stop", () => {
      for (const track of stream.getTracks()) track.stop();
      clearInterval(timer);
      record.textContent = "Record";
      record.classList.remove("on");
      recorder = null;
      take(new Blob(chunks, {type: chunks[0].type}), "recording");
    });
    recorder.start();
    forget();
    const begun = performance.now();
    const tick = () => {
      const seconds = (performance.now() - begun) / 1000;
      record.textContent = `Stop (${seconds.toFixed(0)} s)`;
      if (seconds > limits.maxSeconds - 0.5 && recorder.state === "recording") recorder.stop();
    };
    record.classList.add("on");
    timer = setInterval(tick, 200);
    tick();
  }
  record.addEventListener("click", () => recorder ? recorder.stop() : start());

  // Choosing and dropping.
  byId("choose").addEventListener("click", () => byId("file").click());
  byId("file").addEventListener("change", event => {
    const [chosen] = event.target.files;
    if (chosen) take(chosen, chosen.name);
    event.target.value = "";
  });
  for (const kind of ["dragover", "dragleave", "drop"]) {
    document.addEventListener(kind, event => {
      event.preventDefault();
      drop.classList.toggle("over", kind === "dragover");
    });
  }
  document.addEventListener("drop", event => {
    const [dropped] = event.dataTransfer.files;
    if (dropped) take(dropped, dropped.name);
  });

  function tell(sentence) {
    const trouble = byId("trouble");
    trouble.hidden = !sentence;
    trouble.replaceChildren();
    if (sentence) {
      const line = document.createElement("li");
      line.textContent = sentence;
      trouble.append(line);
    }
  }

  return {file: () => file, isRecording: () => recorder !== null, tell, limits};
})();
