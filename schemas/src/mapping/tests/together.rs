//! Many faults in one file: all of them, in the order of the file.

use super::{FINLIT, faults};
use crate::mapping::parse::load;

/// One different fault in every line that ends in `#!`.
const TWENTY: &str = "version: 2                                        #!
database: shop
uuid_namespace: none                              #!
colections: {}                                    #!
collections:
  people:
    table: people
    key: id
    columns:
      id: { path: _id, type: uuid, convert: uuid-v5 }
      mail: varchr(255)                           #!
      name: { type: text, requird: true }         #!
      born: { type: date, default: yesterday }    #!
      size: { type: numeric(2000) }               #!
      nick: varchar(0)                            #!
      photo: { type: bytea, convert: text }       #!
      lc_version: bigint                          #!
      boss:
        type: uuid
        convert: uuid-v5
        references: { table: peple }              #!
      team:
        type: uuid
        convert: uuid-v5
        required: true
        references:
          table: people
          on_missing: null                        #!
      mail: text                                  #!
  teams:
    table: leafcutter.teams                       #!
    key: [id, colour]                             #!
    columns:
      id: { path: _id, type: uuid, convert: uuid-v5 }
      colour: text
      motto: { type: text, path: a..b }           #!
      score: { type: integer, invalid: truncate } #!
      kind: { type: text, path: a, constant: b }  #!
    children:
      - table: members
        from: members
        key: [id, place]                          #!
        columns:
          id: { parent: id }
          boss: { parent: team_id }               #!
          place: { position: true, type: text }   #!
  things: things                                  #!
  others: { table: others, key: id }              #!
";

#[test]
fn twenty_faults_are_reported_at_once_each_in_its_line() {
    let marked: Vec<usize> = (1..)
        .zip(TWENTY.lines())
        .filter(|(_, line)| line.ends_with("#!"))
        .map(|(number, _)| number)
        .collect();
    let Err(found) = load(TWENTY, "mapping.yaml") else {
        panic!("no fault was found")
    };
    let lines: Vec<usize> = found.0.iter().map(|fault| fault.line).collect();
    assert_eq!(lines, marked, "{found}");
    assert!(found.0.len() >= 20, "{found}");
    assert_eq!(found.to_string().lines().count(), found.0.len());
}

#[test]
fn a_fault_says_where_it_is_and_what_was_probably_meant() {
    let text = FINLIT.replace(
        "timezone: { type: varchar(50)",
        "timezone: { type: varchr(50)",
    );
    let Err(found) = load(&text, "a/b.yaml") else {
        panic!("no fault was found")
    };
    let [fault] = &found.0[..] else {
        panic!("{found}")
    };
    assert_eq!((fault.line, fault.column), (25, 25));
    assert_eq!(fault.place, "collections.learners.columns.timezone.type");
    assert_eq!(fault.suggestion.as_deref(), Some("varchar(50)"));
    assert_eq!(
        found.to_string(),
        "a/b.yaml:25:25: collections.learners.columns.timezone.type: unknown type `varchr(50)`; \
         did you mean `varchar(50)`?"
    );
}

#[test]
fn faults_inside_an_alias_are_where_its_text_is() {
    let text = FINLIT
        .replace(
            "created_at: { type: timestamp }\n      last",
            "created_at: &at { type: tmestamp }\n      last",
        )
        .replace("earned_at: { type: timestamp }", "earned_at: *at");
    let found = faults(&text);
    assert_eq!(found.len(), 2, "{found:?}");
    for fault in found {
        assert!(fault.starts_with("mapping.yaml:34:31: "), "{fault}");
    }
}
