//! Which documents are meant: all, those that a person names, or those that match.

use super::settings::ResnapshotSettings;
use crate::catalog::usage;
use bson::{Bson, Document, RawDocumentBuf, doc, oid::ObjectId, spec::BinarySubtype};
use leafcutter_producer::again::Reader;
use leafcutter_runtime::report::Failure;

/// Which documents.
#[derive(Debug, Clone)]
pub(super) enum Part {
    /// All of them.
    Whole,
    /// These; of a group one document is meant.
    Ids(Vec<Vec<RawDocumentBuf>>),
    /// Those that match; the word for it.
    Matching(&'static str, Document),
}

impl Part {
    /// As the settings say.
    ///
    /// # Errors
    /// When they cannot be understood.
    pub(super) fn of(settings: &ResnapshotSettings, reader: &Reader) -> Result<Self, Failure> {
        if let Some(filter) = &settings.filter {
            return Ok(Self::Matching("where", query(filter)?));
        }
        if let Some(since) = settings.since {
            let filter = reader.since(since).ok_or_else(|| {
                usage(
                    "could not read documents by their dates",
                    "`--since`",
                    "the mapping names no dates of this collection",
                    "Add `poll_by: [updated_at]` to the collection, or use --where.",
                )
            })?;
            return Ok(Self::Matching("since", filter));
        }
        let mut texts = settings.ids.clone();
        if let Some(file) = &settings.ids_file {
            let read = std::fs::read_to_string(file).map_err(|error| {
                let place = format!("`{}`", file.display());
                let next = "Check the path in --ids-file.";
                usage("could not read the ids", &place, error.to_string(), next)
            })?;
            texts.extend(read.lines().map(str::to_owned));
        }
        texts.retain(|text| !text.trim().is_empty());
        if texts.is_empty() && settings.ids_file.is_none() {
            return Ok(Self::Whole);
        }
        let groups = texts.iter().map(|text| group(text.trim()));
        Ok(Self::Ids(groups.collect::<Result<_, _>>()?))
    }

    /// The word for it in JSON.
    pub(super) fn word(&self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::Ids(_) => "ids",
            Self::Matching(word, _) => word,
        }
    }

    /// The filter of documents that match.
    pub(super) fn filter(&self) -> Option<&Document> {
        match self {
            Self::Matching(_, filter) => Some(filter),
            Self::Whole | Self::Ids(_) => None,
        }
    }
}

fn query(text: &str) -> Result<Document, Failure> {
    let refused = |why: String| {
        usage(
            "could not understand the query",
            "`--where`",
            why,
            "Give a query document of MongoDB in Extended JSON, such as '{\"country\": \"FI\"}'.",
        )
    };
    let json: serde_json::Value =
        serde_json::from_str(text).map_err(|error| refused(error.to_string()))?;
    match Bson::try_from(json) {
        Ok(Bson::Document(query)) => Ok(query),
        Ok(_) => Err(refused("it is no document".to_owned())),
        Err(error) => Err(refused(error.to_string())),
    }
}

/// What a person may mean by one `_id`: a text may also be an ObjectId, a UUID or a number.
fn group(text: &str) -> Result<Vec<RawDocumentBuf>, Failure> {
    let refused = |why: String| {
        let place = format!("`{text}`");
        let next = "Write it as text, as a number, or in Extended JSON: {\"$oid\": \"…\"}.";
        usage("could not understand an `_id`", &place, why, next)
    };
    let mut values = Vec::new();
    if text.starts_with(['{', '"', '[']) {
        let json: serde_json::Value =
            serde_json::from_str(text).map_err(|error| refused(error.to_string()))?;
        values.push(Bson::try_from(json).map_err(|error| refused(error.to_string()))?);
    } else {
        values.push(Bson::from(text));
        if let Ok(id) = ObjectId::parse_str(text) {
            values.push(id.into());
        }
        if let Ok(number) = text.parse::<i64>() {
            values.push(number.into());
        } else if let Ok(number) = text.parse::<f64>() {
            values.push(number.into());
        }
        if let Ok(uuid) = bson::Uuid::parse_str(text) {
            values.push(Bson::Binary(bson::Binary {
                subtype: BinarySubtype::Uuid,
                bytes: uuid.bytes().to_vec(),
            }));
        }
    }
    let documents = values
        .into_iter()
        .map(|value| RawDocumentBuf::try_from(&doc! { "_id": value }));
    let documents: Result<_, _> = documents.collect();
    documents.map_err(|error| refused(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_may_be_meant_in_several_ways() {
        let types = |text: &str| -> Vec<bson::spec::ElementType> {
            let group = group(text).unwrap();
            let values = group
                .iter()
                .map(|d| d.get("_id").unwrap().unwrap().element_type());
            values.collect()
        };
        use bson::spec::ElementType as Type;
        assert_eq!(
            types("507f1f77bcf86cd799439011"),
            [Type::String, Type::ObjectId]
        );
        assert_eq!(types("17"), [Type::String, Type::Int64]);
        assert_eq!(types("ann"), [Type::String]);
        assert_eq!(types("\"17\""), [Type::String]);
        assert_eq!(
            types("{\"$oid\": \"507f1f77bcf86cd799439011\"}"),
            [Type::ObjectId]
        );
        assert_eq!(
            types("123e4567-e89b-12d3-a456-426614174000"),
            [Type::String, Type::Binary]
        );
        assert!(group("{\"$oid\": 5}").is_err());
        assert!(group("{").is_err());
    }

    #[test]
    fn a_query_is_a_document() {
        assert_eq!(
            query("{\"a\": {\"$gt\": 1}}").unwrap(),
            doc! { "a": { "$gt": 1 } }
        );
        for wrong in ["{", "5", "[]"] {
            assert!(query(wrong).is_err(), "{wrong}");
        }
    }
}
