// Which recordings are so long that they are better jobs: a tab that is closed loses none of those.

import { durationOf } from "./peaks.js";

const LONG = 1800; // seconds; the choice's words say the same in minutes
const SMALL = 1e6; // bytes: half an hour of speech, as tightly as it is coded, is larger
const LARGE = 100e6; // bytes, where the browser cannot tell the seconds: half an hour at 440 kbit/s
const PATIENCE = 5000; // ms, for a browser that says nothing

/** Recordings by who waits for them: `jobs`, and `others`. `choice`: "always" or "never"; what is
 *  long, by default. */
export async function divided(files, choice) {
  if (choice === "always") return { jobs: files, others: [] };
  if (choice === "never") return { jobs: [], others: files };
  const long = await Promise.all(files.map(isLong));
  return { jobs: files.filter((_, index) => long[index]), others: files.filter((_, index) => !long[index]) };
}

async function isLong(file) {
  if (file.size < SMALL) return false;
  const seconds = file.seconds ?? await Promise.race([durationOf(file), new Promise((resolve) => setTimeout(resolve, PATIENCE, 0))]);
  return seconds ? seconds > LONG : file.size > LARGE;
}
