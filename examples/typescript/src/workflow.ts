// Submits an invoice, corrects a value in the review, and prints the XML.
import type { Api } from './api.js';
import { ClaimReview, CreateJob, DecideReview, PutTaxonomy, Upload, WatchJob } from './documents.js';
import type { WatchJobSubscription } from './gql/graphql.js';
import { makePdf } from './pdf.js';

type Review = NonNullable<WatchJobSubscription['jobUpdated']['review']>;

const invoice = makePdf([
  'Supplier: Lantern & Quill Ltd',
  'Invoice number: LQ-2041',
  'Invoice date: 3 February 2025',
  'Total due: 86.40',
]);

/** The data points to extract. */
const definition = {
  data_points: [
    { name: 'supplier.name', type: 'string', labels: ['Supplier'] },
    { name: 'invoice.number', type: 'code', labels: ['Invoice number'], required: true },
    { name: 'invoice.date', type: 'date', labels: ['Invoice date'] },
    { name: 'amount.gross', type: 'amount', labels: ['Total due'], required: true },
  ],
};

export async function runWorkflow(api: Api): Promise<void> {
  const { putTaxonomy } = await api.send(PutTaxonomy, { input: { name: `invoices-${Date.now()}`, definition } });
  const { uploadDocument } = await api.send(Upload, { file: new File([invoice], 'invoice.pdf', { type: 'application/pdf' }) });
  const { document } = uploadDocument;
  console.log(`uploaded ${document.name}, ${document.size} bytes`);

  const { createJob } = await api.send(CreateJob, {
    input: {
      type: 'data-point-extraction',
      input: { documentId: document.id },
      // A threshold of 1 opens a review of every value, a threshold of 0 opens none.
      metadata: {
        'mapping.taxonomy': putTaxonomy.taxonomy.name,
        'mapping.high_confidence_threshold': 1,
        'zoning.high_confidence_threshold': 0,
      },
    },
  });

  await api.subscribe(WatchJob, { id: createJob.job.id }, async ({ jobUpdated: job }) => {
    console.log(`${Math.round(job.progress.fraction * 100)}%`.padStart(4), job.status, job.currentStep?.name ?? '');
    if (job.review?.status === 'OPEN') await decide(api, job.review);
    if (job.failure) throw new Error(job.failure.message);
    if (job.outputContent) console.log(await download(job.outputContent.document.signedContentsUri));
  });
}

/** Claims the review, corrects one value, and approves the result. */
async function decide(api: Api, review: Review): Promise<void> {
  console.log(`review: ${review.reason}`);
  for (const { label, value, confidence } of review.items) {
    console.log(`  ${label}: ${JSON.stringify(value)}, ${Math.round(confidence * 100)}% sure`);
  }
  await api.send(ClaimReview, { id: review.id });
  const supplier = review.items.find(({ label }) => label === 'supplier.name');
  await api.send(DecideReview, {
    input: {
      id: review.id,
      decision: 'APPROVE',
      // The hash of the reviewed content. The server refuses the decision if the content has changed.
      contentSha256: review.content?.document.sha256 ?? null,
      patch: supplier ? [{ op: 'replace', path: `${supplier.path}/value`, value: 'Lantern & Quill Limited' }] : null,
      comment: 'The name as registered.',
    },
  });
}

async function download(uri: string): Promise<string> {
  const response = await fetch(uri);
  if (!response.ok) throw new Error(`HTTP ${response.status}`);
  return response.text();
}
