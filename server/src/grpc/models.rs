//! `ModelService`.

use fromagerie::dialogue::caption::{CaptionOptions, caption};
use fromagerie::dialogue::generate::PromptPart;
use fromagerie::dialogue::score::{self, Scores};
use fromagerie::{Database, Error};
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
            batch_pass_counts: loaded.model.batch_stats().map(|stats| stats.passes).unwrap_or_default(),
        }))
    }

    async fn embed(&self, request: Request<v1::EmbedRequest>) -> Result<Response<v1::EmbedResponse>, Status> {
        let term = request.into_inner().term.ok_or_else(|| missing("term", "give a text, image or dialogue"))?;
        let (db, term) = (self.db.clone(), convert::term(&term)?);
        let values = blocking(move |_| db.embed(&term)).await?;
        Ok(Response::new(v1::EmbedResponse { vector: Some(v1::Vector { values }) }))
    }

    async fn score(&self, request: Request<v1::ScoreRequest>) -> Result<Response<v1::ScoreResponse>, Status> {
        let request = request.into_inner();
        let prompt = said(request.prompt)?;
        let candidates =
            request.candidates.into_iter().map(|candidate| said(candidate.parts)).collect::<Result<Vec<_>, _>>()?;
        let db = self.db.clone();
        let scores = blocking(move |cancelled| {
            check_count(candidates.len())?;
            score::score(db.model()?.as_ref(), &prompt, &candidates, &|| cancelled())
        });
        Ok(Response::new(score_response(&scores.await?)))
    }

    async fn caption(&self, request: Request<v1::CaptionRequest>) -> Result<Response<v1::CaptionResponse>, Status> {
        let request = request.into_inner();
        let options = CaptionOptions {
            question: Some(request.question).filter(|question| !question.trim().is_empty()),
            tokens_max: request.max_tokens.map(|tokens| tokens as usize),
            ..CaptionOptions::default()
        };
        let (db, image) = (self.db.clone(), request.image.into());
        let found = blocking(move |cancelled| caption(db.model()?.as_ref(), image, &options, &|| cancelled())).await?;
        Ok(Response::new(v1::CaptionResponse { caption: found.text, token_count: found.tokens as u32 }))
    }
}

/// Most candidates of one request.
const CANDIDATES_MAX: usize = 1024;

fn check_count(candidates: usize) -> fromagerie::Result<()> {
    let (value, allowed) = (candidates.to_string(), "at most 1024");
    if candidates <= CANDIDATES_MAX { Ok(()) } else { Err(Error::OutOfRange { name: "candidates", value, allowed }) }
}

fn said(parts: Vec<v1::Part>) -> Result<Vec<PromptPart>, Status> {
    Ok(convert::parts(parts)?.into_iter().map(PromptPart::Said).collect())
}

fn score_response(scores: &Scores) -> v1::ScoreResponse {
    let score = |score: &score::Score, mean: f64| v1::TextScore {
        log_likelihood: score.log_likelihood,
        token_count: score.tokens as u32,
        mean,
    };
    v1::ScoreResponse {
        prompt: Some(score(&scores.prompt, scores.prompt.mean_with(&score::Score::default()))),
        candidates: scores.candidates.iter().map(|own| score(own, scores.prompt.mean_with(own))).collect(),
        ranking: scores.ranking().into_iter().map(|number| number as u32).collect(),
    }
}
