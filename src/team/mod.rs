//! Teams. Whoever belongs to one sees it, and may let others in or out.

use sea_orm::sea_query::{LockType, OnConflict, Query};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, DatabaseTransaction, EntityTrait, PaginatorTrait,
    QueryFilter, QueryOrder, QuerySelect, Select, Set,
};

use crate::access::Actor;
use crate::account;
use crate::audit::{self, Event, Outcome};
use crate::clock::Clock;
use crate::config::Limits;
use crate::db::Db;
use crate::entity::{account as accounts, team, team_member};
use crate::error::{Error, Result, unique_or};
use crate::id::{TeamId, UserId};
use crate::limit;

/// How a person is named.
#[derive(Debug, Clone)]
pub enum PersonRef {
    /// By ID.
    Id(UserId),
    /// By address.
    Email(String),
}

/// The person that is meant; one who cannot be found is NOT_FOUND either way.
pub async fn person(db: &impl ConnectionTrait, who: &PersonRef) -> Result<accounts::Model> {
    let found = match who {
        PersonRef::Id(id) => accounts::Entity::find_by_id(*id).one(db).await?,
        PersonRef::Email(email) => account::by_email(db, email).await?,
    };
    found.ok_or_else(|| Error::not_found("user"))
}

fn visible(actor: &Actor) -> Select<team::Entity> {
    let teams = team::Entity::find();
    if actor.user.is_admin {
        return teams;
    }
    let mine = Query::select()
        .column(team_member::Column::TeamId)
        .from(team_member::Entity)
        .and_where(team_member::Column::AccountId.eq(actor.user.id))
        .to_owned();
    teams.filter(team::Column::Id.in_subquery(mine))
}

/// The teams that an actor sees, by name.
pub async fn list(db: &Db, actor: &Actor) -> Result<Vec<team::Model>> {
    Ok(visible(actor).order_by_asc(team::Column::Name).all(db.read()).await?)
}

/// One of them by ID.
pub async fn get(db: &impl ConnectionTrait, actor: &Actor, id: TeamId) -> Result<Option<team::Model>> {
    Ok(visible(actor).filter(team::Column::Id.eq(id)).one(db).await?)
}

/// Those of some teams that an actor sees.
pub async fn among(
    db: &impl ConnectionTrait,
    actor: &Actor,
    ids: impl IntoIterator<Item = TeamId>,
) -> Result<Vec<team::Model>> {
    Ok(visible(actor).filter(team::Column::Id.is_in(ids)).all(db).await?)
}

/// One of them by name.
pub async fn by_name(db: &Db, actor: &Actor, name: &str) -> Result<Option<team::Model>> {
    Ok(visible(actor).filter(team::Column::Name.eq(name.trim())).one(db.read()).await?)
}

/// Makes a team with its maker in it.
pub async fn create(
    db: &Db,
    clock: &Clock,
    actor: &Actor,
    name: &str,
    limits: &Limits,
) -> Result<team::Model> {
    let name = name.trim().to_owned();
    if name.is_empty() || name.chars().count() > 200 {
        return Err(Error::invalid("/name", "INVALID", "A team's name has 1 to 200 characters."));
    }
    let (maker, most, now) = (actor.user.id, limits.teams, clock.now());
    let made = db.write(move |tx| {
        Box::pin(async move {
            limit::in_turn(tx, maker).await?;
            let full = format!(
                "You have made {most} teams, which is the most that the operator allows (limits.teams)."
            );
            limit::one_more(tx, team::Entity::find().filter(team::Column::CreatedBy.eq(maker)), most, full)
                .await?;
            let id = TeamId::new();
            let row = team::ActiveModel {
                id: Set(id),
                name: Set(name),
                created_by: Set(maker),
                created_at: Set(now),
            };
            let taken = "There is a team with this name already.";
            let team = row.insert(tx).await.map_err(|e| unique_or(e, taken))?;
            let member =
                team_member::ActiveModel { team_id: Set(id), account_id: Set(maker), created_at: Set(now) };
            member.insert(tx).await?;
            Ok(team)
        })
    });
    let team: team::Model = made.await?;
    audit::about(Event::TeamCreated, Outcome::Ok, actor.into(), team.id);
    Ok(team)
}

/// A team that an actor sees, locked by this transaction: who is let out meanwhile cannot let themselves in again.
async fn locked(tx: &DatabaseTransaction, actor: &Actor, id: TeamId) -> Result<team::Model> {
    team::Entity::find_by_id(id).lock(LockType::NoKeyUpdate).one(tx).await?;
    get(tx, actor, id).await?.ok_or_else(|| Error::not_found("team"))
}

/// Lets somebody in, and says whom; who is in already stays.
pub async fn add_member(
    db: &Db,
    clock: &Clock,
    actor: &Actor,
    id: TeamId,
    who: PersonRef,
    limits: &Limits,
) -> Result<(team::Model, UserId)> {
    let (viewer, most, now) = (actor.clone(), limits.team_members, clock.now());
    let added = db.write(move |tx| {
        Box::pin(async move {
            let team = locked(tx, &viewer, id).await?;
            let person = person(tx, &who).await?;
            let row = team_member::ActiveModel {
                team_id: Set(id),
                account_id: Set(person.id),
                created_at: Set(now),
            };
            let there = OnConflict::columns([team_member::Column::TeamId, team_member::Column::AccountId])
                .do_nothing()
                .to_owned();
            let added =
                team_member::Entity::insert(row).on_conflict(there).exec_without_returning(tx).await?;
            let count =
                team_member::Entity::find().filter(team_member::Column::TeamId.eq(id)).count(tx).await?;
            if added > 0 && count > most {
                let message = format!("A team has {most} members at the most.");
                return Err(Error::invalid("", "TOO_MANY", message));
            }
            Ok((team, person.id))
        })
    });
    let (team, member): (team::Model, _) = added.await?;
    audit::between(Event::TeamMemberAdded, actor.into(), member, team.id);
    Ok((team, member))
}

/// Lets somebody out, and says whom, at once. Who is not in it is NOT_FOUND.
pub async fn remove_member(
    db: &Db,
    actor: &Actor,
    id: TeamId,
    who: PersonRef,
) -> Result<(team::Model, UserId)> {
    let viewer = actor.clone();
    let removed = db.write(move |tx| {
        Box::pin(async move {
            let team = locked(tx, &viewer, id).await?;
            let person = person(tx, &who).await?;
            let gone = team_member::Entity::delete_by_id((id, person.id)).exec(tx).await?;
            if gone.rows_affected == 0 {
                return Err(Error::not_found("member of this team"));
            }
            Ok((team, person.id))
        })
    });
    let (team, member): (team::Model, _) = removed.await?;
    audit::between(Event::TeamMemberRemoved, actor.into(), member, team.id);
    Ok((team, member))
}
