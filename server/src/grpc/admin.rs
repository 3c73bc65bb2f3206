//! `AdminService`.

use std::path::PathBuf;

use fromagerie::{CompactReport, CopyReport, Database, RepairReport, VerifyReport};
use fromagerie_proto::v1::{self, admin_service_server::AdminService};
use tonic::{Request, Response, Status};

use super::blocking::blocking;
use super::status::{bad, missing};

/// Keys that an answer lists of those that damage costs.
const LOST_KEYS_MAX: usize = 100;

pub(crate) struct Admin {
    db: Database,
}

impl Admin {
    pub(super) fn new(db: Database) -> Admin {
        Admin { db }
    }
}

#[tonic::async_trait]
impl AdminService for Admin {
    async fn verify_database(
        &self,
        request: Request<v1::VerifyDatabaseRequest>,
    ) -> Result<Response<v1::VerifyDatabaseResponse>, Status> {
        let (db, only) = (self.db.clone(), request.into_inner().collection);
        let report = blocking(move |_| match only.as_str() {
            "" => db.verify(&mut |_| {}),
            name => db.verify_collection(name, &mut |_| {}),
        })
        .await?;
        let VerifyReport { read, unfit } = report;
        let damages = read.damages.iter().map(|damage| v1::Damage {
            path: damage.path.display().to_string(),
            offset: damage.offset,
            message: damage.to_string(),
        });
        let unfit = unfit.into_iter().map(|part| v1::UnfitPart {
            message: part.to_string(),
            collection: part.collection,
            segment_id: part.segment,
            row_count: part.rows,
            part: part.part.to_owned(),
        });
        Ok(Response::new(v1::VerifyDatabaseResponse {
            file_count: read.files,
            read_bytes: read.bytes,
            item_count: read.rows,
            damages: damages.collect(),
            risks: read.risks.into_iter().map(risk).collect(),
            unfit_parts: unfit.collect(),
        }))
    }

    async fn create_snapshot(
        &self,
        request: Request<v1::CreateSnapshotRequest>,
    ) -> Result<Response<v1::Snapshot>, Status> {
        let (db, request) = (self.db.clone(), request.into_inner());
        let path = PathBuf::from(&request.path);
        if request.path.is_empty() {
            return Err(missing("path", "an absolute path on the server's machine"));
        }
        if !path.is_absolute() {
            return Err(bad("path", &format!("{:?} is no absolute path on the server's machine", request.path)));
        }
        let taken = blocking(move |_| db.snapshot(path, request.whole, &mut |_| {})).await?;
        let CopyReport { files, bytes, linked_bytes, collections, items, records } = taken;
        Ok(Response::new(v1::Snapshot {
            path: request.path,
            file_count: files,
            total_bytes: bytes,
            linked_bytes,
            collection_count: collections,
            item_count: items,
            record_count: records,
        }))
    }

    async fn get_collection_stats(
        &self,
        request: Request<v1::GetCollectionStatsRequest>,
    ) -> Result<Response<v1::CollectionStats>, Status> {
        let (db, name) = (self.db.clone(), request.into_inner().name);
        let (stats, usage) = blocking(move |_| {
            let collection = db.open_collection(&name)?;
            Ok((collection.stats(), collection.usage()))
        })
        .await?;
        Ok(Response::new(v1::CollectionStats {
            item_count: stats.live,
            dead_row_count: stats.dead,
            sealed_segment_count: stats.sealed_segments,
            sealed_bytes: stats.sealed_bytes,
            part_bytes: stats.parts.iter().map(|part| (part.name.to_owned(), part.bytes)).collect(),
            dead_bytes: stats.dead_bytes,
            journals_bytes: stats.journals_bytes,
            mapped_bytes: stats.mapped_bytes,
            resident_bytes: stats.resident_bytes,
            memory_bytes: stats.memory_bytes,
            memory_row_count: stats.memory_rows,
            request_id_count: stats.request_ids,
            received_query_count: usage.queries_received,
            kept_query_count: usage.queries_kept,
            recall: usage.recall.map(|recall| v1::RecallEstimate {
                mean: recall.mean,
                low: recall.low,
                high: recall.high,
                sample_count: recall.samples,
            }),
        }))
    }

    async fn compact_collection(
        &self,
        request: Request<v1::CompactCollectionRequest>,
    ) -> Result<Response<v1::CompactCollectionResponse>, Status> {
        let (db, v1::CompactCollectionRequest { name, rebuild }) = (self.db.clone(), request.into_inner());
        let report = blocking(move |_| {
            let collection = db.open_collection(&name)?;
            if rebuild { collection.learn(Vec::new(), &mut |_| {}) } else { collection.compact(&mut |_| {}) }
        })
        .await?;
        let CompactReport { segments_before, segments_after, dropped_rows, bytes_before, bytes_after } = report;
        Ok(Response::new(v1::CompactCollectionResponse {
            segments_before,
            segments_after,
            dropped_row_count: dropped_rows,
            bytes_before,
            bytes_after,
        }))
    }
}

fn risk(report: RepairReport) -> v1::Risk {
    v1::Risk {
        kept_count: report.kept,
        lost_count: report.lost(),
        lossless: report.is_lossless(),
        lost_keys: report.lost_keys.into_iter().take(LOST_KEYS_MAX).collect(),
        collection: report.collection,
    }
}
