// The waveform of a recording: its peaks, computed in the browser.

const POINTS = 2000;
const RATE = 8000; // samples a second: peaks need no more, and an hour takes 115 MB a channel
const LONGEST = 3600; // seconds, for the same reason
const LARGEST = 300e6; // bytes

/** A recording's seconds, and the peaks of its waveform, 0 to 255. Peaks are null where the browser
 *  cannot decode it or it is too long; the seconds are 0 where the browser cannot tell them. */
export async function peaks(file) {
  const duration = await durationOf(file);
  if (duration > LONGEST || file.size > LARGEST) return { duration, peaks: null };
  try {
    const context = new OfflineAudioContext(1, 1, RATE);
    const audio = await context.decodeAudioData(await file.arrayBuffer());
    return { duration: audio.duration, peaks: await loudest(audio) };
  } catch {
    return { duration, peaks: null };
  }
}

/** A recording's seconds; 0 where the browser cannot tell them. */
export function durationOf(file) {
  return new Promise((resolve) => {
    const audio = new Audio();
    const url = URL.createObjectURL(file);
    const end = (seconds) => {
      URL.revokeObjectURL(url);
      resolve(Number.isFinite(seconds) ? seconds : 0);
    };
    audio.onloadedmetadata = () => end(audio.duration);
    audio.onerror = () => end(0);
    audio.preload = "metadata";
    audio.src = url;
  });
}

/** The loudest sample of each point, over all channels. Between points the page has its turn. */
async function loudest(audio) {
  const channels = Array.from({ length: audio.numberOfChannels }, (_, n) => audio.getChannelData(n));
  const found = new Float32Array(Math.min(POINTS, audio.length));
  const width = audio.length / found.length;
  for (let point = 0; point < found.length; point++) {
    found[point] = loudestWithin(channels, Math.floor(point * width), Math.floor((point + 1) * width));
    if (point % 100 === 99) await new Promise((resolve) => setTimeout(resolve));
  }
  const most = found.reduce((a, b) => Math.max(a, b), 0.01);
  return Uint8Array.from(found, (value) => Math.round((255 * value) / most));
}

function loudestWithin(channels, from, to) {
  let most = 0;
  for (const samples of channels) {
    for (let i = from; i < to; i++) most = Math.max(most, Math.abs(samples[i]));
  }
  return most;
}
