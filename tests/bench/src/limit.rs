//! The limit: what the servers themselves need for the same documents and the same rows, with nothing of
//! Leafcutter's between them.
//!
//! - MongoDB's raw scan: every document is found and carried here in the server's own batches, and not looked at.
//! - The same rows by `copy … (format binary)`, from one session, table after table, into fresh copies of the
//!   tables that have nothing but their primary keys; then everything else that the tables have: unique
//!   indexes, indexes, foreign keys.
//!
//! Rows are read in pieces of some megabytes and written again. Only the writing is timed, so memory is limited
//! and the time is that of the target. How many rows are in the copies is looked at in the end.

use super::{figures::Limit, workload::Workload};
use bson::{RawDocumentBuf, doc};
use futures_util::{SinkExt as _, StreamExt as _, TryStreamExt as _};
use leafcutter_harness::{
    failure::{Attempt, Failure, Result},
    world::World,
};
use std::time::{Duration, Instant};
use tokio_postgres::Client;

/// The schema of the copies.
const SCHEMA: &str = "lc_bench_limit";
/// Bytes of rows that are kept here at once.
const PIECE: usize = 32 << 20;

/// A table of the application's, and what it has beside its columns.
#[derive(Debug)]
struct Original {
    name: String,
    primary_key: Vec<String>,
    /// Unique indexes and indexes first, foreign keys last.
    further: Vec<String>,
    foreign_keys: Vec<String>,
}

/// Measures, after the snapshot and before anything changes.
///
/// # Errors
/// When a server fails, or a copy has not all rows.
pub async fn measure<W: Workload>(world: &World, workload: &W) -> Result<Limit> {
    let mut limit = Limit::default();
    let began = Instant::now();
    for collection in workload.collections() {
        let (documents, bytes) = scan(world, collection).await?;
        limit.documents += documents;
        limit.scan_bytes += bytes;
    }
    limit.scan_seconds = began.elapsed().as_secs_f64();

    // One session reads and one writes: a name of a table is that of the original, or of the copy.
    let reader = world.place.stack.postgres().await?;
    let writer = world.place.stack.postgres().await?;
    let own = format!(
        "drop schema if exists {SCHEMA} cascade; create schema {SCHEMA}; set search_path = {SCHEMA}"
    );
    writer
        .batch_execute(&own)
        .await
        .attempt("make copies of the tables")?;
    let originals = originals(&reader).await?;
    for Original {
        name, primary_key, ..
    } in &originals
    {
        let copy = format!("create table {name} (like public.{name} including defaults)");
        writer.batch_execute(&copy).await.attempt(&copy)?;
        run(&writer, primary_key).await?;
    }
    for Original { name, .. } in &originals {
        let (took, rows, bytes) = copy(&reader, &writer, name).await?;
        limit.copy_seconds += took.as_secs_f64();
        limit.rows += rows;
        limit.row_bytes += bytes;
    }
    let began = Instant::now();
    for original in &originals {
        run(&writer, &original.further).await?;
    }
    for original in &originals {
        run(&writer, &original.foreign_keys).await?;
    }
    limit.constraints_seconds = began.elapsed().as_secs_f64();
    let gone = format!("drop schema {SCHEMA} cascade");
    writer.batch_execute(&gone).await.attempt(&gone)?;
    Ok(limit)
}

/// Reads everything; gives how many documents and bytes there were.
async fn scan(world: &World, collection: &str) -> Result<(u64, u64)> {
    let count = world.source.collection::<RawDocumentBuf>(collection);
    let documents = count.estimated_document_count().await;
    let documents = documents.attempt("count documents")?;
    let found = count.find(doc! {}).batch().await;
    let mut batches = found.attempt(&format!("read `{collection}`"))?;
    let mut bytes = 0;
    while let Some(batch) = batches.try_next().await? {
        bytes += u64::try_from(batch.as_raw_document().as_bytes().len())?;
    }
    Ok((documents, bytes))
}

async fn run(writer: &Client, statements: &[String]) -> Result<()> {
    for statement in statements {
        writer.batch_execute(statement).await.attempt(statement)?;
    }
    Ok(())
}

/// The tables of the schema `public`, with their definitions as they read where the tables are visible.
async fn originals(reader: &Client) -> Result<Vec<Original>> {
    const TABLES: &str = "\
        select c.oid, quote_ident(c.relname) from pg_class c \
        where c.relnamespace = 'public'::regnamespace and c.relkind = 'r' order by 2";
    const CONSTRAINTS: &str = "\
        select contype::text, format('alter table %s add constraint %I %s', $2::text, conname, \
        pg_get_constraintdef(oid, true)) from pg_constraint where conrelid = $1 and contype in ('p', 'u', 'f')";
    const INDEXES: &str = "\
        select pg_get_indexdef(i.indexrelid, 0, true) from pg_index i where i.indrelid = $1 \
        and not exists (select 1 from pg_constraint c where c.conindid = i.indexrelid and c.contype in ('p', 'u'))";
    let mut originals = Vec::new();
    let tables = reader.query(TABLES, &[]).await.attempt("list the tables")?;
    for table in tables {
        let (oid, name): (u32, String) = (table.get(0), table.get(1));
        let constraints = reader.query(CONSTRAINTS, &[&oid, &name]).await?;
        let of = |kind: &str| {
            let of_kind = constraints
                .iter()
                .filter(|row| row.get::<_, &str>(0) == kind);
            of_kind.map(|row| row.get(1)).collect::<Vec<String>>()
        };
        let mut further = of("u");
        let indexes = reader.query(INDEXES, &[&oid]).await?;
        further.extend(indexes.iter().map(|row| row.get::<_, String>(0)));
        let (primary_key, foreign_keys) = (of("p"), of("f"));
        originals.push(Original {
            name,
            primary_key,
            further,
            foreign_keys,
        });
    }
    Ok(originals)
}

/// Copies a table; gives the time of writing, the rows and their bytes.
async fn copy(reader: &Client, writer: &Client, name: &str) -> Result<(Duration, u64, u64)> {
    let from = format!("copy public.{name} to stdout (format binary)");
    let to = format!("copy {name} from stdin (format binary)");
    let rows = reader.copy_out(&from).await.attempt(&from)?;
    // It is asked again after its end.
    let mut rows = std::pin::pin!(rows.fuse());
    let mut took = Duration::ZERO;
    let began = Instant::now();
    let mut copy = Box::pin(writer.copy_in(&to).await.attempt(&to)?);
    took += began.elapsed();
    let mut bytes = 0;
    loop {
        let (mut piece, mut size) = (Vec::new(), 0);
        while size < PIECE {
            let Some(some) = rows.try_next().await? else {
                break;
            };
            size += some.len();
            piece.push(some);
        }
        if piece.is_empty() {
            break;
        }
        bytes += u64::try_from(size)?;
        let began = Instant::now();
        for some in piece {
            copy.feed(some).await?;
        }
        copy.flush().await?;
        took += began.elapsed();
    }
    let began = Instant::now();
    let written = copy.as_mut().finish().await.attempt(&to)?;
    took += began.elapsed();
    let count = format!("select count(*) from public.{name}");
    let there: i64 = reader.query_one(&count, &[]).await?.get(0);
    if u64::try_from(there)? != written {
        let why = format!("the copy of `{name}` has {written} rows of {there}");
        return Err(Failure::new(why));
    }
    Ok((took, written, bytes))
}
