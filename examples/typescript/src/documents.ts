// All operations of the workflow. `npm run build` generates the types of their variables and results.
import { graphql } from './gql/index.js';

export const SignUp = graphql(`
  mutation SignUp($input: SignUpInput!) {
    signUp(input: $input) {
      accessToken
    }
  }
`);

export const PutTaxonomy = graphql(`
  mutation PutTaxonomy($input: PutTaxonomyInput!) {
    putTaxonomy(input: $input) {
      taxonomy {
        id
        name
      }
    }
  }
`);

export const Upload = graphql(`
  mutation Upload($file: Upload!) {
    uploadDocument(file: $file) {
      document {
        id
        name
        size
      }
    }
  }
`);

export const CreateJob = graphql(`
  mutation CreateJob($input: CreateJobInput!) {
    createJob(input: $input) {
      job {
        id
      }
    }
  }
`);

export const WatchJob = graphql(`
  subscription WatchJob($id: ID!) {
    jobUpdated(id: $id) {
      id
      status
      progress {
        fraction
      }
      currentStep {
        name
        message
      }
      review {
        id
        status
        reason
        items {
          path
          label
          value
          confidence
        }
        content {
          document {
            sha256
          }
        }
      }
      failure {
        message
      }
      outputContent {
        document {
          signedContentsUri
        }
      }
    }
  }
`);

export const ClaimReview = graphql(`
  mutation ClaimReview($id: ID!) {
    claimReview(id: $id) {
      review {
        id
        status
      }
    }
  }
`);

export const DecideReview = graphql(`
  mutation DecideReview($input: DecideReviewInput!) {
    decideReview(input: $input) {
      review {
        id
        status
      }
    }
  }
`);
