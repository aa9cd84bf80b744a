// Shows the description of the API with Redoc, for reading.

globalThis.Redoc.init("openapi.json", { disableSearch: true, hideDownloadButton: false, nativeScrollbars: true }, document.getElementById("redoc"));
