//! What the command line asks a server that is running: jobs and generations.

use fromagerie_proto::v1::{self, job_service_client::JobServiceClient};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use tonic::{Request, Status};

type Client = JobServiceClient<InterceptedService<Channel, Bearer>>;

/// Adds the token to each call.
#[derive(Clone)]
struct Bearer(Option<MetadataValue<Ascii>>);

impl tonic::service::Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &self.0 {
            request.metadata_mut().insert("authorization", token.clone());
        }
        Ok(request)
    }
}

/// A connection to a server's jobs.
pub(crate) struct JobClient {
    runtime: tokio::runtime::Runtime,
    client: Client,
}

impl JobClient {
    /// Connects to `address`, such as `127.0.0.1:50051`.
    pub(crate) fn connect(address: &str, token: Option<&str>) -> anyhow::Result<JobClient> {
        let token = token.map(|token| format!("Bearer {token}").parse()).transpose()?;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let url = if address.contains("://") { address.to_owned() } else { format!("http://{address}") };
        let channel = runtime.block_on(Channel::from_shared(url)?.connect())?;
        Ok(JobClient { runtime, client: JobServiceClient::with_interceptor(channel, Bearer(token)) })
    }

    pub(crate) fn list(&mut self) -> Result<Vec<v1::Job>, Status> {
        let (mut jobs, mut page_token) = (Vec::new(), String::new());
        loop {
            let request = v1::ListJobsRequest { page_size: 0, page_token };
            let page = self.runtime.block_on(self.client.list_jobs(request))?.into_inner();
            jobs.extend(page.jobs);
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return Ok(jobs);
            }
        }
    }

    pub(crate) fn show(&mut self, id: String) -> Result<v1::Job, Status> {
        Ok(self.runtime.block_on(self.client.get_job(v1::GetJobRequest { id }))?.into_inner())
    }

    pub(crate) fn pause(&mut self, id: String) -> Result<v1::Job, Status> {
        Ok(self.runtime.block_on(self.client.pause_job(v1::PauseJobRequest { id }))?.into_inner())
    }

    pub(crate) fn resume(&mut self, id: String) -> Result<v1::Job, Status> {
        Ok(self.runtime.block_on(self.client.resume_job(v1::ResumeJobRequest { id }))?.into_inner())
    }

    pub(crate) fn cancel(&mut self, id: String) -> Result<v1::Job, Status> {
        Ok(self.runtime.block_on(self.client.cancel_job(v1::CancelJobRequest { id }))?.into_inner())
    }

    pub(crate) fn delete(&mut self, id: String) -> Result<(), Status> {
        self.runtime.block_on(self.client.delete_job(v1::DeleteJobRequest { id }))?;
        Ok(())
    }

    /// Hands over the job whenever it changes, until it stops.
    pub(crate) fn watch(
        &mut self,
        id: String,
        on_job: &mut dyn FnMut(v1::Job) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let mut jobs = self.runtime.block_on(self.client.watch_job(v1::WatchJobRequest { id }))?.into_inner();
        while let Some(job) = self.runtime.block_on(jobs.message())? {
            on_job(job)?;
        }
        Ok(())
    }
}
