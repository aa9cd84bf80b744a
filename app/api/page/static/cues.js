// Cuts a transcript into subtitles as people read them: at most two lines of 42 columns, for at most
// 7 seconds, as the server does (docs/transcriptions.md).

const COLUMNS = 42; // of which a CJK character takes two, but a line has at most 16 of them
const CJK_COLUMNS = 32;
const LINES = 2;
const LONGEST = 7; // seconds

const WIDE = /[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6]/;

function columns(text) {
  return [...text].reduce((sum, one) => sum + (WIDE.test(one) ? 2 : 1), 0);
}

/** The cues of all rows: {start, end, lines, who}. */
export function cues(rows) {
  return rows.filter((row) => row.text).flatMap(cuesOf);
}

function cuesOf(row) {
  const width = WIDE.test(row.text) ? CJK_COLUMNS : COLUMNS;
  const found = [];
  let part = [];
  for (const word of wordsOf(row)) {
    const fits = lines([...part, word], width).length <= LINES && word.end - (part[0] ?? word).start <= LONGEST;
    if (part.length && !fits) {
      found.push(part);
      part = [];
    }
    part.push(word);
  }
  found.push(part);
  return found.map((words) => ({ start: words[0].start, end: words.at(-1).end, lines: lines(words, width), who: row.who }));
}

/** A row's words, each with the text up to the next; a row without words is one. */
function wordsOf({ text, words, start, end }) {
  if (!words.length) return [{ text, start, end }];
  return words.map((word, index) => {
    const until = words[index + 1]?.from ?? text.length;
    return { text: text.slice(index ? word.from : 0, until), start: word.start, end: word.end };
  });
}

function lines(words, width) {
  const found = [""];
  for (const { text } of words) {
    const longer = found.at(-1) + text;
    if (found.at(-1) && columns(longer.trimEnd()) > width) found.push(text);
    else found[found.length - 1] = longer;
  }
  return found.map((line) => line.trim());
}
