//! `SearchService`.

use fromagerie::{Database, Hit, Query, SearchStats};
use fromagerie_proto::v1::{self, search_service_server::SearchService};
use tonic::{Request, Response, Status};

use super::blocking::blocking;
use super::convert;
use super::status::bad;

/// Hits when the caller does not say.
const LIMIT_DEFAULT: usize = 10;
/// Searches of one batch.
const SEARCHES_MAX: usize = 1024;

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
        let (query, limit) = query_of(&request)?;
        let with_thumbnails = request.with_thumbnails;
        let found = blocking(move |cancelled| {
            db.open_collection(&request.collection)?.search_with(&query, limit, &|| cancelled())
        })
        .await?;
        Ok(Response::new(response(found, with_thumbnails)))
    }

    async fn batch_search(
        &self,
        request: Request<v1::BatchSearchRequest>,
    ) -> Result<Response<v1::BatchSearchResponse>, Status> {
        let (db, v1::BatchSearchRequest { collection, searches }) = (self.db.clone(), request.into_inner());
        if searches.len() > SEARCHES_MAX {
            return Err(bad("searches", &format!("at most {SEARCHES_MAX}; these are {}", searches.len())));
        }
        if let Some(other) = searches.iter().find(|one| !one.collection.is_empty() && one.collection != collection) {
            let given = &other.collection;
            let problem = format!("this batch is for {collection:?}, and a search of it named {given:?}");
            return Err(bad("collection", &problem));
        }
        let queries = searches.iter().map(query_of).collect::<Result<Vec<_>, _>>()?;
        let found =
            blocking(move |cancelled| db.open_collection(&collection)?.search_batch(&queries, cancelled)).await?;
        let with_thumbnails = searches.iter().map(|one| one.with_thumbnails);
        let responses = found.into_iter().zip(with_thumbnails).map(|(found, with)| response(found, with));
        Ok(Response::new(v1::BatchSearchResponse { responses: responses.collect() }))
    }
}

fn query_of(request: &v1::SearchRequest) -> Result<(Query, usize), Status> {
    let limit = if request.limit == 0 { LIMIT_DEFAULT } else { request.limit as usize };
    Ok((convert::query(request)?, limit))
}

fn response((hits, stats): (Vec<Hit>, SearchStats), with_thumbnails: bool) -> v1::SearchResponse {
    v1::SearchResponse {
        hits: hits.into_iter().map(|hit| convert::hit(hit, with_thumbnails)).collect(),
        stats: Some(v1::SearchStats {
            scanned_segment_count: stats.scanned_segments,
            graph_segment_count: stats.graph_segments,
            degraded_segment_count: stats.degraded_segments,
        }),
    }
}
