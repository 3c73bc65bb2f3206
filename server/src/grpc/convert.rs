//! Messages to engine types and back. No decisions are made here.

use fromagerie::dialogue::{ChatOptions, Part, Role, Sampling, Turn};
use fromagerie::{Collection, Content, Document, Hit, IndexKind, Item, Query, Spread, StoredItem, Term, VectorType};
use fromagerie_proto::v1;
use prost_types::value::Kind;
use serde_json::{Map, Value};
use tonic::Status;

use super::status::missing;

pub(super) fn collection(collection: &Collection) -> v1::Collection {
    v1::Collection {
        name: collection.name().to_owned(),
        dim: collection.dim() as u32,
        space: collection.space().map(hex::encode).unwrap_or_default(),
        index: match collection.index() {
            IndexKind::Vamana => v1::IndexKind::Vamana,
            IndexKind::Hnsw => v1::IndexKind::Hnsw,
            IndexKind::Flat => v1::IndexKind::Flat,
        } as i32,
        item_count: collection.len() as u64,
        sealed_segment_count: collection.sealed_segments() as u32,
        vector_type: match collection.vector_type() {
            VectorType::F32 => v1::VectorType::F32,
            VectorType::F16 => v1::VectorType::F16,
        } as i32,
        feature_dim: collection.feature_dim() as u32,
        thumbnails: super::convert_job::thumbnail_kind(collection.thumbnails()) as i32,
    }
}

pub(super) fn index_kind(kind: i32) -> IndexKind {
    match v1::IndexKind::try_from(kind) {
        Ok(v1::IndexKind::Flat) => IndexKind::Flat,
        Ok(v1::IndexKind::Hnsw) => IndexKind::Hnsw,
        Ok(v1::IndexKind::Vamana | v1::IndexKind::Unspecified) | Err(_) => IndexKind::Vamana,
    }
}

pub(super) fn vector_type(kind: i32) -> VectorType {
    match v1::VectorType::try_from(kind) {
        Ok(v1::VectorType::F16) => VectorType::F16,
        Ok(v1::VectorType::F32 | v1::VectorType::Unspecified) | Err(_) => VectorType::F32,
    }
}

pub(super) fn item(item: v1::Item) -> Result<Item, Status> {
    let content = item.content.ok_or_else(|| missing("content", "each item needs an image or a vector"))?;
    let content = content_of(content);
    let payload = item.payload.map(object).unwrap_or_default();
    Ok(Item { key: item.key, content, caption: item.caption, uri: item.uri, payload })
}

pub(super) fn content_of(content: v1::item::Content) -> Content {
    match content {
        v1::item::Content::Image(bytes) => Content::Image(bytes.into()),
        v1::item::Content::Vector(vector) => Content::Vector(vector.values),
    }
}

pub(super) fn stored_item(item: StoredItem, with_features: bool) -> v1::StoredItem {
    let Document { caption, uri, payload, width, height, thumbnail, .. } = item.document;
    v1::StoredItem {
        key: item.key,
        caption,
        uri,
        payload: structure(payload),
        width,
        height,
        thumbnail: thumbnail.into(),
        vector: Some(v1::Vector { values: item.vector }),
        features: item.features.filter(|_| with_features).map(|values| v1::Vector { values }),
    }
}

pub(super) fn hit(hit: Hit, with_thumbnail: bool) -> v1::Hit {
    let Document { caption, uri, payload, width, height, thumbnail, .. } = hit.document;
    v1::Hit {
        key: hit.key,
        score: hit.score,
        caption,
        uri,
        payload: structure(payload),
        width,
        height,
        thumbnail: if with_thumbnail { thumbnail.into() } else { Default::default() },
    }
}

pub(super) fn query(request: &v1::SearchRequest) -> Result<Query, Status> {
    let terms = request.terms.iter().map(|t| Ok((term(t)?, if t.weight == 0.0 { 1.0 } else { t.weight })));
    Ok(Query {
        terms: terms.collect::<Result<_, Status>>()?,
        exclude: request.exclude_keys.iter().cloned().collect(),
        score_min: request.score_min,
        payload_equals: request.payload_equals.clone().map(object).unwrap_or_default(),
        spread: request.spread.map(spread).unwrap_or_default(),
        exact: request.exact,
        ef: (request.ef > 0).then_some(request.ef as usize),
        recall: (request.recall != 0.0).then_some(request.recall),
    })
}

fn spread(spread: v1::Spread) -> Spread {
    Spread { near_duplicates: spread.near_duplicates, diversity: spread.diversity }
}

pub(super) fn term(term: &v1::QueryTerm) -> Result<Term, Status> {
    use v1::query_term::Term as Wire;
    Ok(match &term.term {
        Some(Wire::Text(text)) => Term::Text(text.clone()),
        Some(Wire::Image(bytes)) => Term::Image(bytes.to_vec()),
        Some(Wire::Vector(vector)) => Term::Vector(vector.values.clone()),
        Some(Wire::Key(key)) => Term::Key(key.clone()),
        Some(Wire::Dialogue(dialogue)) => Term::Dialogue(dialogue.turns.iter().map(turn).collect::<Result<_, _>>()?),
        None => return Err(missing("term", "give a text, image, vector, key or dialogue")),
    })
}

fn turn(turn: &v1::DialogueTurn) -> Result<Turn, Status> {
    let role = match turn.role() {
        v1::Role::User => Role::User,
        v1::Role::Assistant => Role::Assistant,
        v1::Role::Unspecified => return Err(missing("role", "each turn is ROLE_USER's or ROLE_ASSISTANT's")),
    };
    Ok(Turn { role, parts: parts(turn.parts.clone())? })
}

pub(super) fn parts(parts: Vec<v1::Part>) -> Result<Vec<Part>, Status> {
    use v1::part::Part as Wire;
    parts
        .into_iter()
        .map(|part| match part.part {
            Some(Wire::Text(text)) => Ok(Part::Text(text)),
            Some(Wire::Image(bytes)) => Ok(Part::Image(bytes.into())),
            Some(Wire::ImageKey(key)) => Ok(Part::ImageKey(key)),
            None => Err(missing("part", "each part is a text, an image or the key of an image")),
        })
        .collect()
}

pub(super) fn session_turn(turn: Turn) -> v1::SessionTurn {
    use v1::part::Part as Wire;
    let role = match turn.role {
        Role::User => v1::Role::User,
        Role::Assistant => v1::Role::Assistant,
    };
    let parts = turn.parts.into_iter().map(|part| match part {
        Part::Text(text) => Wire::Text(text),
        Part::Image(bytes) => Wire::Image(bytes.into()),
        Part::ImageKey(key) => Wire::ImageKey(key),
    });
    v1::SessionTurn { role: role as i32, parts: parts.map(|part| v1::Part { part: Some(part) }).collect() }
}

pub(super) fn chat_options(options: &v1::ChatOptions) -> ChatOptions {
    let given = |n: u32| (n > 0).then_some(n as usize);
    ChatOptions {
        tokens_max: options.max_tokens.map(|n| n as usize),
        ret_bias: options.ret_bias,
        ret_scale: options.ret_scale,
        rets_max: given(options.ret_max),
        images_per_ret: given(options.images_per_ret),
        rets_min: given(options.ret_min),
        force_ret: options.force_ret,
        spread: options.spread.map(spread).unwrap_or_default(),
        sampling: Sampling {
            temperature: options.temperature,
            top_p: if options.top_p == 0.0 { 1.0 } else { options.top_p },
            seed: options.seed,
            ..Sampling::default()
        },
        ..ChatOptions::default()
    }
}

pub(super) fn structure(object: Map<String, Value>) -> Option<prost_types::Struct> {
    (!object.is_empty()).then(|| fields(object))
}

fn fields(object: Map<String, Value>) -> prost_types::Struct {
    prost_types::Struct { fields: object.into_iter().map(|(name, value)| (name, wire_value(value))).collect() }
}

fn wire_value(value: Value) -> prost_types::Value {
    let kind = match value {
        Value::Null => Kind::NullValue(0),
        Value::Bool(b) => Kind::BoolValue(b),
        Value::Number(n) => Kind::NumberValue(n.as_f64().unwrap_or_default()),
        Value::String(s) => Kind::StringValue(s),
        Value::Array(values) => {
            Kind::ListValue(prost_types::ListValue { values: values.into_iter().map(wire_value).collect() })
        }
        Value::Object(object) => Kind::StructValue(fields(object)),
    };
    prost_types::Value { kind: Some(kind) }
}

pub(super) fn object(fields: prost_types::Struct) -> Map<String, Value> {
    fields.fields.into_iter().map(|(name, value)| (name, json_value(value))).collect()
}

/// Whole numbers become JSON integers again, so that a payload written over gRPC equals one written in process.
fn json_value(value: prost_types::Value) -> Value {
    match value.kind {
        None | Some(Kind::NullValue(_)) => Value::Null,
        Some(Kind::BoolValue(b)) => b.into(),
        Some(Kind::NumberValue(n)) if n.fract() == 0.0 && n.abs() < 9e15 => (n as i64).into(),
        Some(Kind::NumberValue(n)) => n.into(),
        Some(Kind::StringValue(s)) => s.into(),
        Some(Kind::ListValue(list)) => list.values.into_iter().map(json_value).collect(),
        Some(Kind::StructValue(fields)) => Value::Object(object(fields)),
    }
}

/// How many are on a page, by what was asked for.
pub(super) fn page_size(asked: u32) -> usize {
    if asked == 0 { 100 } else { asked.min(1000) as usize }
}

/// One page of `all`, which is sorted by `name`; the token is the last name of the page before.
pub(super) fn page<T>(all: Vec<T>, size: u32, token: &str, name: impl Fn(&T) -> &str) -> (Vec<T>, String) {
    let size = page_size(size);
    let mut rest = all.into_iter().filter(|one| token.is_empty() || name(one) > token);
    let page: Vec<T> = rest.by_ref().take(size).collect();
    let next = match (rest.next(), page.last()) {
        (Some(_), Some(last)) => name(last).to_owned(),
        _ => String::new(),
    };
    (page, next)
}
