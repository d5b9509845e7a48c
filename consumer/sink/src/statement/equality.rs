//! What a table of the application's finds equal, and the source does not.
//!
//! `citext` and collations that are not deterministic find texts equal that differ (PostgreSQL manual,
//! 24.2.2.4), `jsonb` numbers that are written in two ways, `double precision` 0 and -0, and a unique key may find nulls
//! equal (`nulls not distinct`). Whether something is to be written is a matter of bytes ([`Names::would_change`]): an update that
//! the type does not see is still one. Whether a unique value is taken is a matter of the column: the staged
//! rows take its type and collation over, so that it is asked in the column's own way.

use super::columns::{Names, has_signed_zero};
use crate::names::{list, literal, quote};
use leafcutter_schemas::mapping::{RowSource, pg_type::facts::Kind};

impl Names<'_> {
    /// Whether a column is compared and written where its row is there already. A key is, too, where another
    /// spelling of it is the same row; but a root row's is what the guard knows it by.
    pub(super) fn is_compared(&self, position: usize) -> bool {
        let of_child = self.table.rows != RowSource::Document;
        let pg_type = self.column(position).pg_type;
        let has_forms = pg_type.kind() == Kind::Text || has_signed_zero(pg_type);
        !self.table.key.contains(&position) || (of_child && has_forms)
    }
}

/// Gives the staged columns of text the type and the collation of the target's, where those find texts equal
/// that differ.
pub(super) fn of_target(n: &Names<'_>) -> String {
    let texts = n.table.columns.iter();
    let texts = texts.filter(|column| column.pg_type.kind() == Kind::Text);
    let names: Vec<String> = texts.map(|column| literal(&column.name)).collect();
    if names.is_empty() {
        return String::new();
    }
    format!(
        "; do $leafcutter$ declare c record; begin for c in \
         select a.attname, a.atttypid::regtype::text as own, y.typname = 'citext' as folds, \
         a.attcollation::regcollation::text as collation from pg_attribute a \
         join pg_type y on y.oid = a.atttypid left join pg_collation l on l.oid = a.attcollation \
         where a.attrelid = to_regclass({target}) and a.attname in ({names}) \
         and (y.typname = 'citext' or to_jsonb(l) ->> 'collisdeterministic' = 'false') \
         loop execute format('alter table {temp} alter column %I type %s', c.attname, \
         case when c.folds then c.own else 'text collate ' || c.collation end); \
         end loop; end $leafcutter$",
        target = literal(&n.target),
        names = list(names),
        temp = n.temp,
    )
}

/// A unique key that finds nulls equal, if the target has one of these columns.
pub(super) struct NullsEqual<'a> {
    n: &'a Names<'a>,
    columns: &'a [usize],
}

impl<'a> NullsEqual<'a> {
    pub(super) fn new(n: &'a Names<'a>, columns: &'a [usize]) -> Self {
        Self { n, columns }
    }

    /// More selects of rows whose values are taken, for a union: those with nulls. Where the target has no
    /// such key nothing is read for them.
    pub(super) fn taken(&self, row: &str, other_key: &str) -> String {
        let n = self.n;
        let nullable = |&&column: &&usize| !n.column(column).required;
        if !self.columns.iter().any(|column| nullable(&column)) {
            return String::new();
        }
        let names: Vec<&str> = self
            .columns
            .iter()
            .map(|&column| n.column(column).name.as_str())
            .collect();
        let literals = list(names.iter().map(|name| literal(name)));
        let exists = format!(
            "(select exists (select 1 from pg_index i where i.indrelid = to_regclass({}) \
             and to_jsonb(i) ->> 'indnullsnotdistinct' = 'true' \
             and (select array_agg(a.attname::text order by a.attname) from pg_attribute a \
             where a.attrelid = i.indrelid and a.attnum = any(i.indkey)) \
             = (select array_agg(c order by c) from unnest(array[{literals}]) as c)))",
            literal(&n.target),
        );
        let quoted: Vec<String> = names.iter().map(|name| quote(name)).collect();
        let any_null = quoted.iter().map(|c| format!("t.{c} is null"));
        let any_null = any_null.collect::<Vec<_>>().join(" or ");
        let same = quoted.iter();
        let same = same.map(|c| format!("x.{c} is not distinct from t.{c}"));
        let same = same.collect::<Vec<_>>().join(" and ");
        let values = list(quoted.iter().map(|c| format!("t.{c}")));
        format!(
            " union select t.{row} from {temp} t join {target} x on {same} \
             where {exists} and ({any_null}) and ({other_key}) \
             union select {row} from (select t.{row}, row_number() over (partition by {values} \
             order by t.lc_version, t.lc_doc, t.lc_row) as place from {temp} t \
             where {exists} and ({any_null})) nulls where place > 1",
            temp = n.temp,
            target = n.target,
        )
    }
}
