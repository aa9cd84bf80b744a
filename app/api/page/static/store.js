// Transcripts and recordings, kept in this browser by IndexedDB and nowhere else.

const NAME = "marlinscribe";
const LARGEST_RECORDING = 500e6; // bytes: a larger one is not kept, and is asked for again

let opened = null;

function database() {
  opened ??= new Promise((resolve, reject) => {
    const request = indexedDB.open(NAME, 1);
    request.onupgradeneeded = () => {
      request.result.createObjectStore("transcripts", { keyPath: "id" });
      request.result.createObjectStore("recordings");
    };
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
  return opened;
}

/** Run `work` on the stores in one transaction; what its request resulted in. */
async function within(stores, mode, work) {
  const db = await database();
  return new Promise((resolve, reject) => {
    const transaction = db.transaction(stores, mode);
    const request = work(transaction);
    transaction.oncomplete = () => resolve(request?.result);
    transaction.onerror = transaction.onabort = () => reject(transaction.error);
  });
}

export const all = () => within("transcripts", "readonly", (tx) => tx.objectStore("transcripts").getAll());
export const get = (id) => within("transcripts", "readonly", (tx) => tx.objectStore("transcripts").get(id));

/** Keep a transcript, unless another tab has kept a later version of it: then false. */
export async function keep(transcript) {
  let kept = true;
  await within("transcripts", "readwrite", (tx) => {
    const store = tx.objectStore("transcripts");
    const before = store.get(transcript.id);
    before.onsuccess = () => {
      if (before.result && before.result.version > transcript.version) {
        kept = false;
        return;
      }
      transcript.version += 1;
      transcript.peaks ??= before.result?.peaks ?? null;
      store.put(transcript);
    };
  });
  return kept;
}

/** Keep what a waveform is drawn by. It is nobody's change, so it makes no later version. */
export function keepPeaks({ id, peaks, duration }) {
  return within("transcripts", "readwrite", (tx) => {
    const store = tx.objectStore("transcripts");
    const before = store.get(id);
    before.onsuccess = () => before.result && store.put({ ...before.result, peaks, duration: before.result.duration || duration });
  });
}

export function remove(id) {
  return within(["transcripts", "recordings"], "readwrite", (tx) => {
    tx.objectStore("transcripts").delete(id);
    tx.objectStore("recordings").delete(id);
  });
}

/** Keep a recording, where it is not too large and the browser has room; whether it was kept. */
export async function keepRecording(id, file) {
  if (file.size > LARGEST_RECORDING) return false;
  try {
    await within("recordings", "readwrite", (tx) => tx.objectStore("recordings").put(file, id));
    return true;
  } catch {
    return false;
  }
}

export const recording = (id) => within("recordings", "readonly", (tx) => tx.objectStore("recordings").get(id));
