// The page of the REST facade: shows the OpenAPI document and can send requests.
import SwaggerUI from 'swagger-ui-dist/swagger-ui-es-bundle.js';
import 'swagger-ui-dist/swagger-ui.css';

SwaggerUI({
  dom_id: '#rest',
  url: '/v1.1/openapi.json',
  deepLinking: true,
  // The validator badge would send the document to another host.
  validatorUrl: null,
  // Credentials stay in memory.
  persistAuthorization: false,
  defaultModelsExpandDepth: 0,
  tryItOutEnabled: true,
});
