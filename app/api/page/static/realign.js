// Gives the words of an edited text their times: words that stayed keep theirs, and new ones share
// the time between the words around them.
//
// A word is {from, to, start, end, p}: its place in the text, its seconds, and how sure the model
// was (null where a person wrote it).

// A word of writing without spaces is one character, with the punctuation behind it.
const NEW_WORDS = /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Thai}]\p{P}*|[^\s\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Thai}]+/gu;

/** The words of `after`, a new text of a row whose text, words and times are given. */
export function realign(row, after) {
  const places = kept(row.text, after);
  const stayed = row.words.flatMap((word) => moved(word, places));
  return fill(row, after, stayed);
}

/** Where each character of `before` is in `after`, -1 where it is gone: by the longest common
 *  sequence of what is between their equal beginnings and ends. */
function kept(before, after) {
  const places = new Array(before.length).fill(-1);
  let head = 0;
  while (head < before.length && head < after.length && before[head] === after[head]) places[head] = head++;
  let tail = 0;
  while (tail < Math.min(before.length, after.length) - head && before.at(-1 - tail) === after.at(-1 - tail)) {
    places[before.length - 1 - tail] = after.length - 1 - tail;
    tail += 1;
  }
  matchMiddle(before.slice(head, before.length - tail), after.slice(head, after.length - tail), head, places);
  return places;
}

const MOST_CELLS = 4e6; // of the table below; of longer changes nothing is matched

function matchMiddle(a, b, head, places) {
  if (a.length * b.length > MOST_CELLS) return;
  const wide = b.length + 1;
  const longest = new Uint16Array((a.length + 1) * wide);
  for (let i = a.length - 1; i >= 0; i--) {
    for (let j = b.length - 1; j >= 0; j--) {
      longest[i * wide + j] = a[i] === b[j] ? longest[(i + 1) * wide + j + 1] + 1 : Math.max(longest[(i + 1) * wide + j], longest[i * wide + j + 1]);
    }
  }
  for (let i = 0, j = 0; i < a.length && j < b.length; ) {
    if (a[i] === b[j]) places[head + i++] = head + j++;
    else if (longest[(i + 1) * wide + j] >= longest[i * wide + j + 1]) i += 1;
    else j += 1;
  }
}

/** A word at its new place, if all of it is there and together. */
function moved(word, places) {
  const first = places[word.from];
  for (let i = word.from; i < word.to; i++) {
    if (places[i] === -1 || places[i] !== first + i - word.from) return [];
  }
  return [{ ...word, from: first, to: first + word.to - word.from }];
}

/** The words that stayed, with those of the text between them. A word that grew at an end (other
 *  letters stand against it) is a new one. */
function fill(row, text, stayed) {
  const whole = stayed.filter((word) => isWhole(word, text));
  const words = [];
  let [at, time] = [0, row.start];
  for (const next of [...whole, { from: text.length, start: row.end }]) {
    words.push(...shared(text, at, next.from, time, Math.max(time, next.start)));
    if (next.to) {
      words.push(next);
      [at, time] = [next.to, next.end];
    }
  }
  return words;
}

const isLetter = (character) => character !== undefined && /[\p{L}\p{N}\p{P}]/u.test(character) && !/[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Thai}]/u.test(character);

function isWhole(word, text) {
  const [first, last] = [text[word.from], text[word.to - 1]];
  return !(isLetter(text[word.from - 1]) && isLetter(first)) && !(isLetter(text[word.to]) && isLetter(last));
}

/** The words of a stretch of text, each with a share of the time by its length. */
function shared(text, from, to, start, end) {
  const found = [...text.slice(from, to).matchAll(NEW_WORDS)];
  const letters = found.reduce((sum, one) => sum + one[0].length, 0);
  let time = start;
  return found.map((one) => {
    const begun = time;
    time += ((end - start) * one[0].length) / letters;
    return { from: from + one.index, to: from + one.index + one[0].length, start: begun, end: time, p: null };
  });
}
