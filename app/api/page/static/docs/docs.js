// Shows the description of the API with Swagger UI, which can send requests.

globalThis.SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  validatorUrl: null, // it would be asked of somebody else's server
  defaultModelsExpandDepth: 0,
});
