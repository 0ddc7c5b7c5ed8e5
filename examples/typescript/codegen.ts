import type { CodegenConfig } from '@graphql-codegen/cli';

// Generates types for all operations in src/, validated against the published schema.
const config: CodegenConfig = {
  schema: '../../schema.graphql',
  documents: 'src/*.ts',
  generates: {
    'src/gql/': {
      preset: 'client',
      presetConfig: { fragmentMasking: false },
      config: {
        enumsAsTypes: true,
        emitLegacyCommonJSImports: false,
        importExtension: '.js',
        useTypeImports: true,
        strictScalars: true,
        scalars: {
          DateTime: 'string',
          JSON: 'unknown',
          JSONObject: 'Record<string, unknown>',
          SafeInt: 'number',
          URL: 'string',
          Upload: 'File',
        },
      },
    },
  },
};

export default config;
