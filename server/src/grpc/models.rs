//! `ModelService`.

use fromagerie::Database;
use fromagerie_proto::v1::{self, model_service_server::ModelService};
use tonic::{Request, Response, Status};

use super::blocking::blocking;
use super::convert;
use super::status::missing;

pub(crate) struct Models {
    db: Database,
}

impl Models {
    pub(super) fn new(db: Database) -> Models {
        Models { db }
    }
}

#[tonic::async_trait]
impl ModelService for Models {
    async fn get_model(&self, _: Request<v1::GetModelRequest>) -> Result<Response<v1::Model>, Status> {
        let db = self.db.clone();
        let loaded = blocking(move |_| db.model()).await?;
        let manifest = loaded.model.manifest();
        Ok(Response::new(v1::Model {
            name: manifest.name.clone(),
            architecture: manifest.architecture.clone(),
            dim: manifest.retrieval.dim,
            space: hex::encode(loaded.model.fingerprint()),
            context_token_count: manifest.language_model.max_position_embeddings,
            device: loaded.device.clone(),
            runtime_version: loaded.runtime_version.clone(),
        }))
    }

    async fn embed(&self, request: Request<v1::EmbedRequest>) -> Result<Response<v1::EmbedResponse>, Status> {
        let term = request.into_inner().term.ok_or_else(|| missing("term", "give a text, image or dialogue"))?;
        let (db, term) = (self.db.clone(), convert::term(&term)?);
        let values = blocking(move |_| db.embed(&term)).await?;
        Ok(Response::new(v1::EmbedResponse { vector: Some(v1::Vector { values }) }))
    }
}
