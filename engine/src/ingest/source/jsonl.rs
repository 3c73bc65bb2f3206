//! JSON Lines: one object a line; its names are the columns.

use std::path::Path;

use serde_json::{Map, Value};

use super::columns::{Cell, Context, Roles};
use super::lines::Lines;
use super::{Failure, Found, Place, Source, SourceError, SourceOptions};
use crate::error::Result;

/// A file of JSON Lines. Its position is a number of lines.
pub(super) struct Jsonl {
    lines: Lines,
    context: Context,
    options: SourceOptions,
}

impl Jsonl {
    pub(super) fn open(path: &Path, options: &SourceOptions, from: u64) -> Result<Jsonl> {
        let mut lines = Lines::open(path)?;
        while lines.number() < from && lines.next().is_some() {}
        Ok(Jsonl { lines, context: Context::new(path, options), options: options.clone() })
    }

    fn record(&self, object: Map<String, Value>, place: Place) -> Result<Found, Failure> {
        let (names, values): (Vec<String>, Vec<Value>) = object.into_iter().unzip();
        let roles = Roles::of(&names, &self.options.columns, &self.context.path)
            .map_err(|error| Failure::read(None, place.clone(), error))?;
        let cells = values.into_iter().map(Cell::of_json).collect();
        roles.record(&names, cells, place, self.lines.number() - 1, &self.context)
    }
}

impl Source for Jsonl {
    fn next(&mut self) -> Option<Result<Found, Failure>> {
        let object = loop {
            match self.lines.next()? {
                Ok("") => {}
                Ok(line) => {
                    break serde_json::from_str(line).map_err(|e| SourceError::damaged(format!("no JSON object: {e}")));
                }
                Err(error) => break Err(error),
            }
        };
        let place = Place::line(&self.context.path, self.lines.number());
        Some(match object {
            Ok(object) => self.record(object, place),
            Err(error) => Err(Failure::read(None, place, error)),
        })
    }

    fn position(&self) -> u64 {
        self.lines.number()
    }
}
