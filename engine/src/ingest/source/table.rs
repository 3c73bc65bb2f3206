//! TSV and CSV: CC3M's two columns without names, FROMAGe's with names, and anybody else's.
//!
//! Between tabs a line is a record and a quote is a quote, but for a field that is wholly in quotes, as pandas writes
//! it. Between commas quotes may hold commas and line ends. Names above the columns are told from values by what they
//! are: a first line with a known name for a picture or a vector is a line of names. Without one, the column whose
//! first value is an address or a picture's name holds the pictures, and the first other one the captions.

use std::path::Path;

use super::columns::{Cell, Context, Roles};
use super::folder::is_picture;
use super::{Failure, Found, Place, Source, SourceError, SourceOptions, is_url};
use crate::error::Result;
use rows::Rows;

mod rows;

/// A table. Its position is a number of records, the line of names among them.
pub(super) struct Table {
    rows: Rows,
    names: Vec<String>,
    roles: Roles,
    context: Context,
    /// The first record, when it is no line of names.
    first: Option<Vec<String>>,
}

impl Table {
    pub(super) fn open(path: &Path, tabs: bool, options: &SourceOptions, from: u64) -> Result<Table> {
        let mut rows = if tabs { Rows::tabs(path)? } else { Rows::commas(path)? };
        let first = match rows.next() {
            Some(first) => first.map_err(crate::error::Error::from)?,
            None => Vec::new(),
        };
        let wanted = [&options.columns.image, &options.columns.vector];
        let asked = wanted.into_iter().flatten().any(|name| first.iter().any(|n| n.eq_ignore_ascii_case(name)));
        let named = asked || Roles::are_names(&first);
        let by_number = wanted.into_iter().flatten().any(|name| name.parse::<usize>().is_ok());
        let names = if named { first.clone() } else { guess_names(&first, by_number) };
        let roles = Roles::of(&names, &options.columns, path)?;
        let mut table = Table { rows, names, roles, context: Context::new(path, options), first: None };
        if from == 0 {
            table.first = (!named && !first.is_empty()).then_some(first);
        }
        while table.rows.number() < from && table.rows.next().is_some() {}
        Ok(table)
    }

    fn record(&self, row: Vec<String>) -> Result<Found, Failure> {
        let place = Place::line(&self.context.path, self.rows.line());
        if row.len() != self.names.len() {
            let problem = format!("it has {} columns, and the first line has {}", row.len(), self.names.len());
            return Err(Failure::read(None, place, SourceError::damaged(problem)));
        }
        let cells = row.into_iter().map(|text| if text.is_empty() { Cell::Empty } else { Cell::Text(text) }).collect();
        self.roles.record(&self.names, cells, place, self.rows.number() - 1, &self.context)
    }
}

impl Source for Table {
    fn next(&mut self) -> Option<Result<Found, Failure>> {
        if let Some(first) = self.first.take() {
            return Some(self.record(first));
        }
        Some(match self.rows.next()? {
            Ok(row) => self.record(row),
            Err(error) => Err(Failure::read(None, Place::line(&self.context.path, self.rows.line()), error)),
        })
    }

    fn position(&self) -> u64 {
        // The first record was read to see what it is.
        if self.first.is_some() { 0 } else { self.rows.number() }
    }
}

/// Names for the columns of a table that has none. Where nothing looks like a picture, and the caller did not count
/// columns, the first line is taken for names after all, so that an error shows them.
fn guess_names(first: &[String], by_number: bool) -> Vec<String> {
    let image = first.iter().position(|value| is_url(value) || is_picture(Path::new(value)));
    if image.is_none() && !by_number {
        return first.to_vec();
    }
    let caption = (0..first.len()).find(|at| Some(*at) != image);
    let name = |at: usize| match Some(at) {
        at if at == image => "image".to_owned(),
        at if at == caption => "caption".to_owned(),
        _ => format!("column_{}", at + 1),
    };
    (0..first.len()).map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::super::Body;
    use super::*;

    fn read(name: &str, text: &str, from: u64) -> Vec<Result<Found, Failure>> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        let mut table = Table::open(&path, name.ends_with("tsv"), &SourceOptions::default(), from).unwrap();
        std::iter::from_fn(|| table.next()).collect()
    }

    #[test]
    fn cc3m_and_fromage_are_both_understood() {
        let cc3m = read("a.tsv", "a \"big\" dog\thttp://x/1.jpg\nthe sea\thttp://x/2\n", 0);
        let first = cc3m[0].as_ref().unwrap();
        assert_eq!((first.caption.as_str(), &first.body), ("a \"big\" dog", &Body::Url("http://x/1.jpg".into())));
        assert_eq!(cc3m[1].as_ref().unwrap().key, "http://x/2");
        let fromage = read("b.tsv", "caption\timage\n\"the \"\"player\"\"\"\t3_28\n", 0);
        let only = fromage[0].as_ref().unwrap();
        assert_eq!((only.caption.as_str(), only.key.as_str(), fromage.len()), ("the \"player\"", "3_28", 1));
        assert!(matches!(&only.body, Body::File(path) if path.ends_with("3_28")));
    }

    #[test]
    fn a_line_that_does_not_fit_is_named_and_the_next_one_read() {
        let rows = read("c.csv", "image,caption\na.png,\"one, two\nthree\"\nb.png\nc.png,x\n", 0);
        assert_eq!(rows[0].as_ref().unwrap().caption, "one, two\nthree");
        let failure = rows[1].as_ref().unwrap_err();
        assert!(failure.place.to_string().ends_with("c.csv, line 4"), "{}", failure.place);
        assert!(failure.error.to_string().contains("1 columns, and the first line has 2"), "{}", failure.error);
        assert_eq!(rows[2].as_ref().unwrap().key, "c.png");
    }

    #[test]
    fn a_table_goes_on_where_it_was() {
        for text in ["image,caption\na.png,1\nb.png,2\n", "a.png,1\nb.png,2\n"] {
            let keys = |from| read("d.csv", text, from).into_iter().map(|row| row.unwrap().key).collect::<Vec<_>>();
            let named = u64::from(text.starts_with("image"));
            assert_eq!(keys(0), ["a.png", "b.png"]);
            assert_eq!(keys(named + 1), ["b.png"]);
            assert!(keys(named + 2).is_empty());
        }
    }
}
