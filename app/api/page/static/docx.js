// A transcript as a Word document (ECMA-376): a title, and a paragraph a row with its time and who
// speaks. The parts that a reader needs, in a zip without compression.

import { clock } from "./format.js";
import { speaker } from "./transcript.js";
import { zip } from "./zip.js";

const DECLARED = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n';
const OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships";
const PACKAGE = "http://schemas.openxmlformats.org/package/2006";
const WORDS = "http://schemas.openxmlformats.org/wordprocessingml/2006/main";
const KIND = "application/vnd.openxmlformats-officedocument.wordprocessingml";

const TYPES = `${DECLARED}<Types xmlns="${PACKAGE}/content-types"><Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/><Default Extension="xml" ContentType="application/xml"/><Override PartName="/word/document.xml" ContentType="${KIND}.document.main+xml"/><Override PartName="/word/styles.xml" ContentType="${KIND}.styles+xml"/></Types>`;
const relations = (id, type, target) => `${DECLARED}<Relationships xmlns="${PACKAGE}/relationships"><Relationship Id="${id}" Type="${OFFICE}/${type}" Target="${target}"/></Relationships>`;

// Sizes are half points; spacing is twentieths of one.
const STYLES = `${DECLARED}<w:styles xmlns:w="${WORDS}">
<w:docDefaults><w:rPrDefault><w:rPr><w:rFonts w:ascii="Calibri" w:hAnsi="Calibri" w:eastAsia="Microsoft JhengHei"/><w:sz w:val="22"/></w:rPr></w:rPrDefault><w:pPrDefault><w:pPr><w:spacing w:after="120" w:line="276" w:lineRule="auto"/></w:pPr></w:pPrDefault></w:docDefaults>
<w:style w:type="paragraph" w:default="1" w:styleId="Normal"><w:name w:val="Normal"/></w:style>
<w:style w:type="paragraph" w:styleId="Title"><w:name w:val="Title"/><w:basedOn w:val="Normal"/><w:rPr><w:b/><w:sz w:val="36"/></w:rPr></w:style>
<w:style w:type="character" w:default="1" w:styleId="DefaultParagraphFont"><w:name w:val="Default Paragraph Font"/></w:style>
<w:style w:type="character" w:styleId="Time"><w:name w:val="Time"/><w:rPr><w:color w:val="59636F"/><w:sz w:val="18"/></w:rPr></w:style>
</w:styles>`;

/** The bytes of a document. */
export function docx(transcript) {
  const rows = transcript.rows.filter((row) => row.text);
  const paragraphs = rows.map((row, index) => paragraph(transcript, row, rows[index - 1]));
  const title = `<w:p><w:pPr><w:pStyle w:val="Title"/></w:pPr>${run(transcript.name)}</w:p>`;
  const body = `<w:body>${title}${paragraphs.join("")}<w:sectPr><w:pgSz w:w="11906" w:h="16838"/><w:pgMar w:top="1134" w:right="1134" w:bottom="1134" w:left="1134" w:header="709" w:footer="709" w:gutter="0"/></w:sectPr></w:body>`;
  return zip([
    ["[Content_Types].xml", TYPES],
    ["_rels/.rels", relations("rId1", "officeDocument", "word/document.xml")],
    ["word/_rels/document.xml.rels", relations("rId1", "styles", "styles.xml")],
    ["word/document.xml", `${DECLARED}<w:document xmlns:w="${WORDS}">${body}</w:document>`],
    ["word/styles.xml", STYLES],
  ]);
}

function paragraph(transcript, row, before) {
  const name = row.who === before?.who ? "" : speaker(transcript, row.who);
  const time = run(`${clock(row.start)}  `, '<w:rStyle w:val="Time"/>');
  return `<w:p>${time}${name ? run(`${name}: `, "<w:b/>") : ""}${run(row.text)}</w:p>`;
}

function run(text, how = "") {
  return `<w:r>${how ? `<w:rPr>${how}</w:rPr>` : ""}<w:t xml:space="preserve">${escaped(text)}</w:t></w:r>`;
}

/** Text as XML 1.0 has it; characters that it may not have at all are left out. */
function escaped(text) {
  const able = text.toWellFormed?.() ?? text;
  return able.replace(/[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\u{10000}-\u{10ffff}]/gu, "")
    .replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
}
