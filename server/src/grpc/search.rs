//! `SearchService`.

use fromagerie::Database;
use fromagerie_proto::v1::{self, search_service_server::SearchService};
use tonic::{Request, Response, Status};

use super::blocking::blocking;
use super::convert;

/// Hits when the caller does not say.
const LIMIT_DEFAULT: usize = 10;

pub(crate) struct Search {
    db: Database,
}

impl Search {
    pub(super) fn new(db: Database) -> Search {
        Search { db }
    }
}

#[tonic::async_trait]
impl SearchService for Search {
    async fn search(&self, request: Request<v1::SearchRequest>) -> Result<Response<v1::SearchResponse>, Status> {
        let (db, request) = (self.db.clone(), request.into_inner());
        let query = convert::query(&request)?;
        let limit = if request.limit == 0 { LIMIT_DEFAULT } else { request.limit as usize };
        let with_thumbnails = request.with_thumbnails;
        let (hits, stats) = blocking(move |cancelled| {
            db.open_collection(&request.collection)?.search_with(&query, limit, &|| cancelled())
        })
        .await?;
        Ok(Response::new(v1::SearchResponse {
            hits: hits.into_iter().map(|hit| convert::hit(hit, with_thumbnails)).collect(),
            stats: Some(v1::SearchStats {
                scanned_segment_count: stats.scanned_segments,
                graph_segment_count: stats.graph_segments,
                degraded_segment_count: stats.degraded_segments,
            }),
        }))
    }
}
