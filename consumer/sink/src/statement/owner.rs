//! Whose a row is, where its key alone does not say so.
//!
//! Several collections may fill one table: `lc_source` names the collection of a row. And a key that
//! follows from `_id` may be made of two `_id`s, of an ObjectId and of the text of its digits, say:
//! `lc_document` is the key of a row's document then, as the Kafka record has it. Nobody touches a row
//! that is another's; its own document waits until the row is free.
//!
//! Two kinds of rows are nobody's. Where nothing stands it is not known whose the row is: it was there
//! before. It is the first document's that writes or deletes it, under the guard. And a row whose document
//! was deleted, but that has to stay, is free: a zero byte stands before its document's key then. Any
//! document may take it over, whatever its version; its own has a tombstone, under the document's key.

use super::{
    columns::Names,
    places::{ByTarget, each_place, update_from},
};

/// What stands before the document of a row that is free: no document's key begins so.
const FREE: &str = "'\\x00'::bytea";

/// Of a row: it is free.
pub(super) fn is_free(row: &str) -> String {
    format!("substring({row}.lc_document from 1 for 1) = {FREE}")
}

/// Whose a row is once it is free of this document.
pub(super) fn freed(document: &str) -> String {
    format!("{FREE} || {document}")
}

impl Names<'_> {
    /// Of a row `stored` of the target: it is that of the row `incoming` that is to be written, or free.
    pub(super) fn own(&self, stored: &str, incoming: &str) -> String {
        let document = if self.keeps_document {
            format!(
                " and ({stored}.lc_document in ({incoming}.lc_document, '') or {})",
                is_free(stored)
            )
        } else {
            String::new()
        };
        self.of_collection(stored) + &document
    }

    /// Of a row `stored` of the target: it is that of the row that is to be deleted, or was before it was
    /// freed. Without a document it does not matter whose it is.
    pub(super) fn own_to_delete(&self, stored: &str, deleted: &str) -> String {
        let document = if self.keeps_document {
            format!(
                " and ({deleted}.lc_document is null \
                 or {stored}.lc_document in ({deleted}.lc_document, '', {}))",
                freed(&format!("{deleted}.lc_document"))
            )
        } else {
            String::new()
        };
        self.of_collection(stored) + &document
    }

    fn of_collection(&self, stored: &str) -> String {
        match &self.source {
            Some(source) => format!(" and {stored}.lc_source in ({source}, '')"),
            None => String::new(),
        }
    }

    /// The collection of a row of the target, where several fill the table; null elsewhere.
    pub(super) fn source_of(&self, stored: &str) -> String {
        if self.source.is_some() {
            format!("{stored}.lc_source")
        } else {
            "null::text".to_owned()
        }
    }

    /// The column of the document behind others, where the table has it.
    pub(super) fn document_column(&self) -> &'static str {
        if self.keeps_document {
            ", lc_document"
        } else {
            ""
        }
    }
}

/// Takes out the rows whose key is another's, of the target or of the batch, and returns their `lc_doc`.
/// Of several documents of a batch with one key the one goes first that has the row, then the one with
/// the lowest version.
pub(super) fn take_foreign(n: &Names<'_>) -> Option<String> {
    if n.source.is_none() && !n.keeps_document {
        return None;
    }
    let (temp, target, own) = (&n.temp, &n.target, n.own("x", "t"));
    let foreign = format!(
        "select t.lc_doc from {temp} t {} where not (true{own})",
        n.each_by_key("t", "", ""),
    );
    let taken = if n.keeps_document {
        let (key, key_of_t) = (n.key_list(""), n.key_list("t."));
        format!(
            "with twice as (select {key} from {temp} group by {key} having count(*) > 1), \
             taken as ({foreign} union select lc_doc from (select t.lc_doc, row_number() over \
             (partition by {key_of_t} order by (exists (select 1 from {target} o where {} \
             and o.lc_document = t.lc_document)) desc, t.lc_version, t.lc_document) as place \
             from {temp} t join twice d on {}) ranked where place > 1)",
            n.same_key("o", "t"),
            n.same_key("d", "t"),
        )
    } else {
        format!("with taken as ({foreign})")
    };
    Some(format!(
        "{taken} delete from {temp} t using taken k where t.lc_doc = k.lc_doc returning t.lc_doc"
    ))
}

/// Changes the rows of the staged keys, of those of `d` that a condition tells.
pub(super) fn update_deleted(n: &Names<'_>, set: &str, condition: &str) -> ByTarget {
    let (target, deletes) = (&n.target, &n.deletes);
    let own = format!("{}{}", n.same_key("x", "d"), n.own_to_delete("x", "d"));
    let places = format!(
        "select d.*, x.ctid as place from {deletes} d {} where {condition}",
        each_place(target, "x", &own),
    );
    ByTarget {
        by_keys: format!(
            "update {target} x set {set} from {deletes} d where {own} and {condition}"
        ),
        by_places: Some(update_from(target, "x", set, &places)),
    }
}

/// Frees the staged rows, which stay though their documents were deleted. They are locked.
pub(super) fn disown(n: &Names<'_>) -> Option<ByTarget> {
    n.keeps_document.then(|| {
        let set = format!("lc_document = {}", freed("x.lc_document"));
        update_deleted(n, &set, &format!("not {}", is_free("x")))
    })
}

/// Returns `lc_doc`, the document that has the row of that key, and its collection where several fill the
/// table.
pub(super) fn owners(n: &Names<'_>) -> Option<String> {
    n.keeps_document.then(|| {
        let source = n.source_of("x");
        format!(
            "select d.lc_doc, x.lc_document, {source} from {} d {}",
            n.deletes,
            n.each_by_key("d", "", ""),
        )
    })
}
