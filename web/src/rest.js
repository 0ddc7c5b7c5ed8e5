// The page of the REST façade: what its OpenAPI document says, and a way to try it.
import SwaggerUI from 'swagger-ui-dist/swagger-ui-es-bundle.js';
import 'swagger-ui-dist/swagger-ui.css';

SwaggerUI({
  dom_id: '#rest',
  url: '/v1.1/openapi.json',
  deepLinking: true,
  // The badge would ask another host whether the document is valid.
  validatorUrl: null,
  // Credentials stay in memory.
  persistAuthorization: false,
  defaultModelsExpandDepth: 0,
  tryItOutEnabled: true,
});
