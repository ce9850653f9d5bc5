// A clip becomes a player with its picture when it is wanted: it lies in the page as base64 of an MP3.
function sound(row) {
  if (!row.clip) return element("p", "quiet", "No sound: " + row.silent);
  const coded = document.getElementById(row.clip).textContent;
  const audio = element("audio");
  audio.controls = true;
  audio.preload = "metadata";
  audio.setAttribute("aria-label", "Clip of " + row.id);
  audio.src = "data:audio/mpeg;base64," + coded;
  return element("div", "sound", audio, picture(audio, coded, row.id));
}

// Waveform and mel spectrogram, with a line where the player is; pointing there goes there.
function picture(audio, coded, name) {
  const canvas = element("canvas"), line = element("div", "playhead");
  const made = element("div", "picture", canvas, line);
  canvas.setAttribute("role", "img");
  const share = event => (event.offsetX - PICTURE.left) / (canvas.clientWidth - PICTURE.left - PICTURE.right);
  function follow() {
    const width = canvas.clientWidth - PICTURE.left - PICTURE.right;
    line.style.left = `${PICTURE.left + width * Math.min(1, audio.currentTime / (audio.duration || 1))}px`;
    if (!audio.paused) requestAnimationFrame(follow);
  }
  for (const event of ["play", "seeked", "ended", "loadedmetadata"]) audio.addEventListener(event, follow);
  canvas.addEventListener("click", event => {
    if (audio.duration) audio.currentTime = audio.duration * Math.max(0, Math.min(1, share(event)));
  });
  decoded(coded).then(samples => {
    const heard = melSpectrogram(samples);
    const seconds = samples.length / RATE_HZ;
    canvas.setAttribute("aria-label", `Waveform and mel spectrogram of ${name}, ${seconds.toFixed(1)} s`);
    const draw = () => { drawPicture(canvas, samples, heard); follow(); };
    new ResizeObserver(draw).observe(made);
    window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
    made.dataset.drawn = "yes";
  }, error => made.replaceWith(element("p", "quiet", "No picture of the sound: " + error.message)));
  return made;
}

function decoded(coded) {
  const bytes = Uint8Array.from(atob(coded), letter => letter.charCodeAt(0));
  return new OfflineAudioContext(1, 1, RATE_HZ).decodeAudioData(bytes.buffer).then(buffer => buffer.getChannelData(0));
}
