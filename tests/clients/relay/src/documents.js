// Operations of a document list. The Relay compiler reads this file; the suite runs the compiled operations.
const { graphql } = require('relay-runtime');

graphql`
  query documentsQuery {
    viewer {
      email
    }
    ...documents_list
  }
`;

graphql`
  fragment documents_list on Query
  @argumentDefinitions(count: { type: "Int", defaultValue: 2 }, cursor: { type: "String" })
  @refetchable(queryName: "documentsPageQuery") {
    documents(first: $count, after: $cursor) @connection(key: "documents_list_documents") {
      edges {
        node {
          ...documents_item @relay(mask: false)
        }
      }
    }
  }
`;

graphql`
  fragment documents_item on Document {
    id
    name
    size
    owner {
      email
    }
  }
`;

graphql`
  mutation documentsUploadMutation($file: Upload!, $connections: [ID!]!) {
    uploadDocument(file: $file) {
      document @prependNode(connections: $connections, edgeTypeName: "DocumentEdge") {
        ...documents_item @relay(mask: false)
      }
    }
  }
`;

graphql`
  mutation documentsDeleteMutation($id: ID!, $connections: [ID!]!) {
    deleteDocument(id: $id) {
      deletedId @deleteEdge(connections: $connections)
    }
  }
`;
