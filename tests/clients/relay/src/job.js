// Operations of a job page.
const { graphql } = require('relay-runtime');

graphql`
  query jobQuery($id: ID!) {
    job(id: $id) {
      ...job_state
    }
  }
`;

graphql`
  fragment job_state on Job @refetchable(queryName: "jobStateRefetchQuery") {
    id
    status
    metadata
    progress {
      fraction
    }
    currentStep {
      name
    }
  }
`;

graphql`
  mutation jobCreateMutation($input: CreateJobInput!) {
    createJob(input: $input) {
      job {
        id
        ...job_state
      }
    }
  }
`;

graphql`
  subscription jobUpdatedSubscription($id: ID!) {
    jobUpdated(id: $id) {
      ...job_state
    }
  }
`;
