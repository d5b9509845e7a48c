//! The demo, step by step.

use super::{
    args::Settings,
    measured::{Faults, Measured},
    screen::{Loading, Screen, number, say},
    table,
};
use leafcutter_finlit::{
    Collection, FinLit, MAPPING,
    compare::{Sides, compare, dead_letters, report::Report},
    ledger::Ledger,
    load::load,
    traffic, unsettled,
};
use leafcutter_harness::{
    failure::{Attempt, Failure, Result},
    fault::{
        again::{self, Again},
        course::Course,
        plan::{Pace, Plan},
    },
    fleet::Fleet,
    probe,
    servers::Servers,
    stack::Stack,
    watch::{Seen, Watch},
    world::Place,
};
use mongodb::Database;
use std::time::{Duration, Instant};

/// Between two kills, and until what was killed is started again.
const KILLS: Pace = Pace {
    pause: Duration::from_secs(3),
    outage: Duration::from_secs(3),
};
/// The same for faults of every kind. A consumer that is frozen for longer than its session loses what it has.
const FAULTS: Pace = Pace {
    pause: Duration::from_secs(4),
    outage: Duration::from_secs(15),
};
/// How long a program may take to end.
const STOP: Duration = Duration::from_secs(60);

/// Does everything. True: the comparison found nothing.
///
/// # Errors
/// When it cannot be carried through.
pub async fn run(settings: &Settings) -> Result<bool> {
    let stack = Stack::from_env()?;
    let finlit = FinLit::new(settings.seed, settings.scale);
    let folder = settings.folder();
    let place = Place::new(
        MAPPING,
        stack,
        &settings.database,
        &settings.prefix,
        &folder,
    )?;
    let client = place.stack.mongodb().await?;
    let source = client.database(&settings.database);
    refuse_old_target(&place).await?;

    say(&format!(
        "Fill MongoDB: {} documents in 9 collections, seed {}, with all their edge cases",
        number(finlit.total()),
        settings.seed
    ))?;
    let loading = Loading::new(finlit.total());
    load(&finlit, &source, |documents| loading.at(documents)).await?;
    drop(loading);

    let mut measured = Measured::default();
    let migrated = migrate(settings, &place, &finlit, &source, &mut measured).await?;
    let Migrated { ledger, fleet } = migrated;

    say("Compare every document with every row")?;
    let began = Instant::now();
    let report = judge(&place, settings, &source, &ledger).await?;
    measured.comparison = began.elapsed();
    if let Some(faults) = &mut measured.faults {
        say("Count what was done again")?;
        faults.again = again::count(&place, &fleet)?;
    }
    say("")?;
    say(&table::render(settings, &report, &measured))?;
    Ok(report.is_clean())
}

/// Another run's tables would be found extra.
async fn refuse_old_target(place: &Place) -> Result<()> {
    let target = place.stack.postgres().await?;
    let sql =
        "select to_regclass('learners') is not null or to_regnamespace('leafcutter') is not null";
    if target
        .query_one(sql, &[])
        .await
        .attempt("look into PostgreSQL")?
        .get(0)
    {
        return Err(Failure::new(
            "PostgreSQL already holds a migration: give the demo a database of its own",
        ));
    }
    Ok(())
}

/// What the migration leaves behind.
struct Migrated {
    ledger: Ledger,
    fleet: Fleet,
}

/// From the first write of the traffic until everything is applied and the programs have ended.
async fn migrate(
    settings: &Settings,
    place: &Place,
    finlit: &FinLit,
    source: &Database,
    measured: &mut Measured,
) -> Result<Migrated> {
    say(&format!(
        "Migrate: 1 producer, {} consumers, an application that writes {} times a second",
        settings.consumers, settings.rate
    ))?;
    let plan = settings.kill.then(|| plan(settings));
    let servers = plan.as_ref().map(|_| Servers::from_env()).transpose()?;
    if let Some(plan) = &plan {
        let seed = plan.seed;
        say(&match settings.faults {
            None => format!(
                "Kill each part once meanwhile (`KILL_SEED={seed} make demo-kill` repeats it)"
            ),
            Some(faults) => format!("Make {faults} faults meanwhile (KILL_SEED={seed})"),
        })?;
    }
    let watch = Watch::new(place, &settings.group).await?;
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let traffic = traffic::run(
        *finlit,
        source.client().clone(),
        source.clone(),
        settings.rate,
        stopped,
    );
    let traffic = tokio::spawn(traffic);
    let start = Instant::now();
    measured.start = Some(start);
    let fleet = Fleet::new(place, &settings.group, &[]);
    fleet.first_producer().await?;
    for _ in 0..settings.consumers {
        fleet.consumer()?;
    }
    let mut screen = Screen::new(place, finlit, start)?;
    let course = plan.as_ref().zip(servers.as_ref());
    let course = course.map(|(plan, servers)| Course {
        plan,
        place,
        fleet: &fleet,
        servers,
        watch: &watch,
        start,
        struck: Vec::new().into(),
    });

    let mut read_at = None;
    let watched = probe::until(settings.deadline, "the end of the snapshots", async || {
        let seen = watch.look().await?;
        show(&seen, &fleet, course.as_ref(), &mut screen, measured, place)?;
        if traffic.is_finished() {
            return Ok(Some(()));
        }
        let is_over = course.as_ref().is_none_or(Course::is_over);
        if read_at.is_none() && is_over && seen.said.complete.len() == Collection::ALL.len() {
            read_at = Some(Instant::now());
        }
        Ok(read_at
            .filter(|at| at.elapsed() >= settings.after)
            .map(|_| ()))
    });
    let killed = async {
        match &course {
            Some(course) => course.run().await,
            None => Ok(()),
        }
    };
    tokio::try_join!(watched, killed)?;
    stop.send_replace(true);
    let done = traffic
        .await
        .attempt("write to MongoDB")?
        .attempt("write to MongoDB")?;
    watch
        .until_settled(
            done.last_write,
            settings.deadline,
            &unsettled::count(),
            |seen| show(seen, &fleet, course.as_ref(), &mut screen, measured, place),
        )
        .await?;
    drop(screen);

    measured.writes = done.total();
    measured.traffic = done.took;
    measured.transactions = done.transactions;
    measured.peaks = fleet.peaks();
    measured.faults = course.map(|course| Faults {
        seed: course.plan.seed,
        struck: course.struck.into_inner(),
        again: Again::default(),
    });
    fleet.stop_all(STOP).await?;
    let mut ledger = Ledger::of_load(finlit);
    ledger.extend(done.ledger);
    Ok(Migrated { ledger, fleet })
}

/// Whom to kill when. A seed of nobody's choice is one that can be typed.
fn plan(settings: &Settings) -> Plan {
    let seed = settings.kill_seed;
    let seed = seed.unwrap_or_else(|| u64::from(rand::random::<u16>()));
    let consumers = settings.consumers.into();
    match settings.faults {
        None => Plan::new(seed, consumers, KILLS),
        Some(faults) => Plan::of_faults(seed, consumers, FAULTS, faults.into()),
    }
}

fn show(
    seen: &Seen,
    fleet: &Fleet,
    course: Option<&Course<'_>>,
    screen: &mut Screen,
    measured: &mut Measured,
    place: &Place,
) -> Result<()> {
    fleet.check()?;
    measured.see(place, seen)?;
    if let Some(course) = course {
        screen.show_kills(&course.struck.borrow())?;
    }
    screen.show(seen)
}

async fn judge(
    place: &Place,
    settings: &Settings,
    source: &Database,
    ledger: &Ledger,
) -> Result<Report> {
    let mut target = place.stack.postgres().await?;
    let sides = Sides {
        mongodb: source,
        postgres: &mut target,
        prefix: &settings.prefix,
        group: &settings.group,
    };
    let mut report = compare(sides, ledger).await?;
    for finding in dead_letters::check(place, &report.dead_letters)? {
        report.add(finding);
    }
    Ok(report)
}
