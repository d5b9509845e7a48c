//! The mappings that documents go through.

use leafcutter_operator::verify::expected::plan::Plan;
use leafcutter_schemas::mapping::{ColumnSource, Path, RowSource, parse};
use leafcutter_sink::model::Model;
use std::sync::OnceLock;

/// A mapping of one collection, compiled by both sides.
pub struct Mapped {
    /// The file.
    pub text: String,
    /// As the consumer has it.
    pub model: Model,
    /// As `leafcutter verify` has it.
    pub plan: Plan,
    /// The names that its paths have.
    pub names: Vec<String>,
    /// Whether it has one column beside the key, so that there is one reason at most to refuse a document.
    pub is_single: bool,
}

impl Mapped {
    /// Compiles a mapping.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn of(text: String, is_single: bool) -> Result<Self, String> {
        let mapping = parse::load(&text, "mapping.yaml").map_err(|faults| faults.to_string())?;
        let first = mapping.collections.first().ok_or("no collection")?;
        let plan = Plan::of(first, mapping.uuid_namespace);
        let mut names = Vec::new();
        let mut take = |path: &Path| names.extend(path.steps().iter().cloned());
        for table in &plan.tables {
            if let RowSource::Elements(elements) = &table.table.rows {
                elements.iter().for_each(|from| take(&from.path));
            }
            for column in &table.table.columns {
                match &column.source {
                    ColumnSource::Path(path) => take(path),
                    ColumnSource::FirstOf(paths) => paths.iter().for_each(&mut take),
                    _ => {}
                }
            }
        }
        names.sort_unstable();
        names.dedup();
        let model = Model::compile(mapping, "p").map_err(|error| error.to_string())?;
        Ok(Self {
            text,
            model,
            plan,
            names,
            is_single,
        })
    }
}

const TYPES: [&str; 20] = [
    "boolean",
    "smallint",
    "integer",
    "bigint",
    "real",
    "double precision",
    "numeric",
    "numeric(8,2)",
    "numeric(3,3)",
    "numeric(40,20)",
    "text",
    "varchar(5)",
    "uuid",
    "bytea",
    "date",
    "time",
    "timestamp",
    "timestamptz",
    "json",
    "jsonb",
];
const CONVERSIONS: [&str; 7] = [
    "auto",
    "text",
    "uuid-v5",
    "object-id-time",
    "epoch-seconds",
    "epoch-millis",
    "parse",
];
const POLICIES: [&str; 3] = ["reject", "null", "truncate"];
const PATHS: [&str; 8] = [
    "a",
    "a.x",
    "a.0",
    "[a, b]",
    "[a.x, b, a]",
    "a.x.y",
    ".",
    "l",
];

/// Every type with every conversion and policy that it takes, alone in a mapping and together with others;
/// and mappings of everything else.
pub fn pool() -> &'static [Mapped] {
    static POOL: OnceLock<Vec<Mapped>> = OnceLock::new();
    POOL.get_or_init(|| {
        let mut pool: Vec<Mapped> = WHOLE
            .iter()
            .map(|text| Mapped::of((*text).to_owned(), false).unwrap())
            .collect();
        let mut lenient = Vec::new();
        let mut number = 0;
        for pg_type in TYPES {
            for is_array in [false, true] {
                for convert in CONVERSIONS {
                    for policy in POLICIES {
                        number += 1;
                        let array = if is_array { " array" } else { "" };
                        let path = PATHS[number % PATHS.len()];
                        let column = format!(
                            "{{ path: {path}, type: \"{pg_type}{array}\", convert: {convert}, invalid: {policy} }}"
                        );
                        let Ok(mapped) = Mapped::of(file(&[&column]), true) else {
                            continue;
                        };
                        pool.push(mapped);
                        if policy != "reject" {
                            lenient.push(column);
                        }
                    }
                }
            }
        }
        for columns in lenient.chunks(20) {
            let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
            pool.push(Mapped::of(file(&columns), false).unwrap());
        }
        pool
    })
}

fn file(columns: &[&str]) -> String {
    let mut text = "version: 1\ndatabase: d\ncollections:\n  c:\n    table: t\n    key: id\n    columns:\n      \
                    id: { path: _id, type: text, convert: text, invalid: truncate }\n"
        .to_owned();
    for (number, column) in columns.iter().enumerate() {
        text += &format!("      c{number}: {column}\n");
    }
    text
}

/// What columns of types do not show.
const WHOLE: [&str; 5] = [
    "version: 1
database: d
collections:
  c:
    table: t
    key: id
    columns:
      id: { path: _id, type: text, convert: text }
      first: { path: [a.x, a.y, b], type: text, convert: text, invalid: null }
      number: { path: n, type: numeric, convert: parse, invalid: null, default: 7 }
      list: { path: l, type: text array, convert: text, invalid: null, default: '{}' }
      doc: { path: o, type: jsonb, invalid: null }
      others: { rest: true, type: jsonb, invalid: null }
    children:
      - table: u
        from: u
        key: [id, place]
        columns:
          id: { parent: id }
          place: { position: true, type: integer }
          name: { path: [name, .], type: text, convert: text, invalid: null }
          others: { rest: true, type: jsonb, invalid: null }
",
    "version: 1
database: d
collections:
  c:
    table: users
    key: user_id
    columns:
      user_id: { path: _id, type: text, convert: text }
    children:
      - table: goals
        from:
          - { path: a, set: { kind: target } }
          - { path: b.x, set: { kind: wish } }
        key: goal_id
        columns:
          user_id: { parent: user_id }
          kind: { set: true, type: text }
          name: { path: ., type: text, required: true, convert: text }
          goal_id: { derive: [user_id, kind, name], type: uuid }
      - table: scores
        from: { map: m }
        key: [user_id, game]
        columns:
          user_id: { parent: user_id }
          game: { map_key: true, type: text }
          points: { path: ., type: integer, invalid: null }
      - table: tracks
        from: l
        key: [user_id, track]
        columns:
          user_id: { parent: user_id }
          track: { position: true, type: integer }
        children:
          - table: points
            from: .
            key: [user_id, track, point]
            columns:
              user_id: { parent: user_id }
              track: { parent: track }
              point: { position: true, type: integer }
              x: { path: '0', type: integer, invalid: null }
              y: { path: '1', type: integer, invalid: null }
",
    "version: 1
database: d
collections:
  c:
    tables:
      - table: books
        where: { kind: [book, 1, true], a: exists }
        key: id
        columns: { id: { path: _id, type: text, convert: text }, pages: { path: a, type: numeric, invalid: null } }
      - table: films
        where: { kind: film, b: missing }
        key: id
        columns:
          id: { path: _id, type: text, convert: text }
          level: { path: a, type: text, values: [novice, expert], invalid: null }
          plan: { path: b, type: text, values: { 1: basic, 2: premium, trial: null }, invalid: null }
      - table: all_of_them
        key: id
        columns: { id: { path: _id, type: uuid, convert: uuid-v5 }, whole: { path: ., type: jsonb, invalid: null } }
",
    "version: 1
database: d
collections:
  c:
    table: t
    key: [day, email]
    columns:
      day: { path: d, type: date, required: true, convert: parse }
      email: { path: a.x, type: varchar(5), required: true, invalid: { too_long: truncate } }
      level: { path: n, type: integer, values: { 1: 10, 2: 20, x: 30 } }
      since: { path: [b, d], type: timestamptz, convert: epoch-millis, invalid: null }
",
    "version: 1
database: d
collections:
  c:
    table: t
    where: \"!has(doc.kind) || doc.kind != 'no'\"
    key: id
    columns:
      id: { path: _id, type: text, convert: text }
      joined: { type: text, expression: \"has(doc.a) ? string(doc.a) + '!' : null\", invalid: null }
      size: { type: bigint, expression: \"has(doc.l) ? size(doc.l) : 0\", invalid: null }
      all: { type: jsonb, expression: \"doc.?o.orValue(null)\", invalid: null }
      doubled: { type: \"double precision\", expression: \"has(doc.n) ? double(doc.n) * 2.0 : null\", invalid: null }
",
];
