"""Synthesis of labelled sounds: for each kind of question a set of labels and how each one sounds.

Every call draws pitch, speed, phase, level and decay anew, so that no two clips of a label are
alike; what tells labels apart stays below 3.4 kHz, so it survives a file at 8 kHz.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Wave = NDArray[np.float64]
Synth = Callable[["Draw"], Wave]


@dataclass(frozen=True, slots=True)
class Draw:
    """One clip's time axis and randomness."""

    t: Wave
    """Seconds, [N]."""
    rng: np.random.Generator

    def uniform(self, low: float, high: float) -> float:
        """One number between two."""
        return float(self.rng.uniform(low, high))

    @property
    def seconds(self) -> float:
        """Length of the clip."""
        return float(self.t[-1])

    def noise(self) -> Wave:
        """White noise."""
        return self.rng.standard_normal(self.t.size)


def sweep(frequency_hz: Wave, t: Wave) -> Wave:
    """A sine whose frequency changes over time."""
    step = np.diff(t, prepend=0.0)
    return np.sin(2 * np.pi * np.cumsum(frequency_hz * step))


def harmonics(f0_hz: float, levels: list[float], t: Wave) -> Wave:
    """A sum of overtones, the first level that of f0 itself; none above 3.4 kHz."""
    parts = [
        level * np.sin(2 * np.pi * f0_hz * number * t)
        for number, level in enumerate(levels, start=1)
        if level and f0_hz * number < 3_400
    ]
    return np.sum(parts, axis=0)


def pulses(d: Draw, per_second: float, length_s: float, count: int | None = None) -> Wave:
    """An envelope of decaying beats at a steady rate, the first ``count`` of them only."""
    beat = d.t * per_second
    since = (beat % 1.0) / per_second
    envelope = np.exp(-since / length_s)
    return envelope if count is None else envelope * (beat < count)


def band(d: Draw, low_hz: float, high_hz: float) -> Wave:
    """Noise between two frequencies."""
    spectrum = np.fft.rfft(d.noise())
    hz = np.fft.rfftfreq(d.t.size, d.t[1] - d.t[0])
    spectrum[(hz < low_hz) | (hz > high_hz)] = 0
    wave: Wave = np.fft.irfft(spectrum, d.t.size)
    return wave / (np.abs(wave).max() + 1e-9)


def siren(d: Draw) -> Wave:
    """A tone that rises and falls."""
    centre, rate = d.uniform(800, 1100), d.uniform(1.5, 2.5)
    return sweep(centre * (1 + 0.45 * np.sin(2 * np.pi * rate * d.t + d.uniform(0, 6))), d.t)


def alarm(d: Draw) -> Wave:
    """Beeps of one pitch, below what chirps."""
    tone = np.sin(2 * np.pi * d.uniform(1300, 1700) * d.t)
    return tone * (np.sin(2 * np.pi * d.uniform(2.5, 4) * d.t) > 0)


def rain(d: Draw) -> Wave:
    """Steady noise."""
    return band(d, 200, 3_400) * (1 + 0.2 * np.sin(2 * np.pi * d.uniform(0.5, 2) * d.t))


def engine(d: Draw) -> Wave:
    """A low, rough hum."""
    hum = harmonics(d.uniform(45, 80), [1, 0.9, 0.8, 0.6, 0.4, 0.3], d.t)
    return hum * (1 + 0.4 * np.sin(2 * np.pi * d.uniform(15, 25) * d.t)) + 0.3 * band(d, 40, 300)


def bell(d: Draw) -> Wave:
    """Inharmonic partials that ring out."""
    f0 = d.uniform(500, 800)
    partials = ((1.0, 1.0), (2.76, 0.7), (4.1, 0.4))
    strike = sum(level * np.sin(2 * np.pi * f0 * r * d.t) for r, level in partials)
    return np.asarray(strike) * np.exp(-d.t / d.uniform(0.25, 0.45))


def barking(d: Draw) -> Wave:
    """Short, harsh, falling bursts."""
    rate = d.uniform(2.2, 3.2)
    fall = 1 - 0.5 * ((d.t * rate) % 1.0)
    f0 = d.uniform(380, 520) * fall
    bark = sweep(f0, d.t) + 0.7 * sweep(2 * f0, d.t) + 0.5 * sweep(3 * f0, d.t)
    return (bark + 0.4 * band(d, 400, 2000)) * pulses(d, rate, 0.07)


def knocking(d: Draw) -> Wave:
    """Dull thumps."""
    return band(d, 60, 450) * pulses(d, d.uniform(3, 5), 0.03)


def chirping(d: Draw) -> Wave:
    """Quick rising whistles."""
    rate = d.uniform(5, 8)
    rise = d.uniform(2000, 2300) + 1000 * ((d.t * rate) % 1.0)
    return sweep(rise, d.t) * (((d.t * rate) % 1.0) < 0.6)


def note(low_hz: float, high_hz: float) -> Synth:
    """A held note within a range of pitches."""

    def synth(d: Draw) -> Wave:
        levels = [1.0, d.uniform(0.2, 0.6), d.uniform(0.1, 0.4)]
        return harmonics(float(np.exp(d.uniform(np.log(low_hz), np.log(high_hz)))), levels, d.t)

    return synth


def triad(*frequencies_hz: float) -> Synth:
    """A key's three notes, struck together or one after the other, a little out of tune."""

    def synth(d: Draw) -> Wave:
        tune, rate = d.uniform(0.995, 1.005), d.uniform(4, 6)
        tones = [np.sin(2 * np.pi * f * tune * d.t) for f in frequencies_hz]
        if d.rng.random() < 0.5:
            return np.sum(tones, axis=0)
        playing = (d.t * rate).astype(int) % len(tones)
        return np.choose(playing, tones)

    return synth


def beat(slow: float, fast: float) -> Synth:
    """Hits at a rate between two, in hits a second."""

    def synth(d: Draw) -> Wave:
        tone = np.sin(2 * np.pi * d.uniform(300, 900) * d.t) + 0.5 * band(d, 200, 3000)
        return tone * pulses(d, d.uniform(slow, fast), 0.035)

    return synth


def flute(d: Draw) -> Wave:
    """Nearly a sine, with vibrato and breath."""
    f0 = d.uniform(450, 900) * (1 + 0.012 * np.sin(2 * np.pi * d.uniform(5, 7) * d.t))
    return sweep(f0, d.t) + 0.08 * band(d, 300, 3000)


def organ(d: Draw) -> Wave:
    """Many steady harmonics."""
    return harmonics(d.uniform(180, 300), [1, 0.9, 0.8, 0.9, 0.6, 0.8, 0.4, 0.7, 0.4, 0.5], d.t)


def guitar(d: Draw) -> Wave:
    """Plucked: harmonics that die away, the high ones first."""
    f0, plucks = d.uniform(150, 300), d.uniform(1.8, 2.6)
    since = (d.t * plucks % 1.0) / plucks
    parts = [np.sin(2 * np.pi * f0 * n * d.t) / n * np.exp(-since * n * 4) for n in range(1, 9)]
    return np.sum(parts, axis=0)


def drum(d: Draw) -> Wave:
    """Noise hits over a thud."""
    thud = np.sin(2 * np.pi * d.uniform(60, 110) * d.t)
    return (thud + 0.8 * band(d, 500, 3400)) * pulses(d, d.uniform(2.5, 4), 0.06)


def voiced(f0_hz: float, formants_hz: tuple[float, float], d: Draw) -> Wave:
    """A voice: harmonics of f0 shaped by two formants, with a little jitter."""
    jitter = 1 + 0.01 * np.sin(2 * np.pi * d.uniform(3, 6) * d.t)
    phase = 2 * np.pi * np.cumsum(jitter * np.diff(d.t, prepend=0.0))
    wave = np.zeros_like(d.t)
    for number in range(1, int(3_300 / f0_hz)):
        hz = f0_hz * number
        level = sum(1 / (1 + ((hz - f) / 90) ** 2) for f in formants_hz)
        wave += (level + 0.02) * np.sin(hz * phase)
    return wave


def vowel(first_hz: float, second_hz: float) -> Synth:
    """A held vowel by its two formants."""

    def synth(d: Draw) -> Wave:
        shift = d.uniform(0.95, 1.05)
        return voiced(d.uniform(100, 200), (first_hz * shift, second_hz * shift), d)

    return synth


def syllables(count: int) -> Synth:
    """So many syllables of changing vowels."""

    def synth(d: Draw) -> Wave:
        rate = d.uniform(3.4, 4.0)
        formants = (d.uniform(450, 700), d.uniform(1000, 1700))
        gate = (d.t * rate % 1.0 < 0.55) & (d.t * rate < count)
        return voiced(d.uniform(110, 200), formants, d) * gate

    return synth


def voice(low_hz: float, high_hz: float) -> Synth:
    """A vowel at a pitch of voice between two."""

    def synth(d: Draw) -> Wave:
        formants = (d.uniform(500, 700), d.uniform(1100, 1500))
        return voiced(d.uniform(low_hz, high_hz), formants, d)

    return synth


SYNTHS: dict[str, dict[str, Synth]] = {
    "event": {
        "siren": siren,
        "alarm": alarm,
        "rain": rain,
        "engine": engine,
        "bell": bell,
        "barking": barking,
        "knocking": knocking,
        "chirping": chirping,
    },
    "pitch": {"low": note(110, 180), "middle": note(330, 520), "high": note(1000, 1600)},
    "key": {
        "C major": triad(523.3, 659.3, 784.0),
        "A minor": triad(880.0, 1046.5, 1318.5),
        "E major": triad(659.3, 830.6, 987.8),
        "D minor": triad(1174.7, 1396.9, 1760.0),
    },
    "tempo": {"slow": beat(1.8, 2.4), "moderate": beat(4.0, 5.0), "fast": beat(9.0, 11.0)},
    "timbre": {"flute": flute, "organ": organ, "guitar": guitar, "drum": drum},
    "vowel": {
        "ah": vowel(750, 1200),
        "ee": vowel(300, 2300),
        "oo": vowel(330, 750),
        "eh": vowel(560, 1800),
    },
    "syllables": {
        "one": syllables(1),
        "two": syllables(2),
        "three": syllables(3),
        "four": syllables(4),
    },
    "voice": {"deep": voice(70, 90), "ordinary": voice(155, 185), "shrill": voice(310, 370)},
}
"""Kind of question -> label -> how it sounds."""

MIN_SECONDS = {"tempo": 1.2, "syllables": 1.3, "timbre": 0.8, "event": 0.8}
"""Kinds whose cue needs time."""
