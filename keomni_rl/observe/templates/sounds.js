// A clip becomes a player when it is wanted: its sound lies in the page as base64 of an MP3.
function player(clip, label) {
  const audio = document.createElement("audio");
  audio.controls = true;
  audio.preload = "metadata";
  audio.setAttribute("aria-label", label);
  audio.src = "data:audio/mpeg;base64," + document.getElementById(clip).textContent;
  return audio;
}
