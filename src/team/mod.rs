//! Teams. Every member sees the team, and may add and remove members.

use sea_orm::sea_query::{LockType, OnConflict, Query};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, DatabaseTransaction, EntityTrait, PaginatorTrait,
    QueryFilter, QueryOrder, QuerySelect, Select, Set,
};

use crate::access::Actor;
use crate::account;
use crate::audit::{self, AuditEvent, Outcome};
use crate::clock::Clock;
use crate::config::Limits;
use crate::db::Db;
use crate::entity::{account as accounts, team, team_member};
use crate::error::{Error, Result, unique_or};
use crate::id::{TeamId, UserId};
use crate::limit;

/// A reference to a user.
#[derive(Debug, Clone)]
pub enum UserRef {
    /// By user ID.
    Id(UserId),
    /// By e-mail address.
    Email(String),
}

/// Finds the user that a reference names; an unknown user is NOT_FOUND in either case.
pub(crate) async fn find_user(db: &impl ConnectionTrait, user_ref: &UserRef) -> Result<accounts::Model> {
    let found = match user_ref {
        UserRef::Id(id) => accounts::Entity::find_by_id(*id).one(db).await?,
        UserRef::Email(email) => account::by_email(db, email).await?,
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

/// Lists the teams that an actor may see, by name.
pub async fn list(db: &Db, actor: &Actor) -> Result<Vec<team::Model>> {
    Ok(visible(actor).order_by_asc(team::Column::Name).all(db.read()).await?)
}

/// Returns the team with an ID, if the actor may see it.
pub async fn get(db: &impl ConnectionTrait, actor: &Actor, id: TeamId) -> Result<Option<team::Model>> {
    Ok(visible(actor).filter(team::Column::Id.eq(id)).one(db).await?)
}

/// Returns the teams with these IDs that an actor may see.
pub async fn among(
    db: &impl ConnectionTrait,
    actor: &Actor,
    ids: impl IntoIterator<Item = TeamId>,
) -> Result<Vec<team::Model>> {
    Ok(visible(actor).filter(team::Column::Id.is_in(ids)).all(db).await?)
}

/// Returns the team with a name, if the actor may see it.
pub async fn by_name(db: &Db, actor: &Actor, name: &str) -> Result<Option<team::Model>> {
    Ok(visible(actor).filter(team::Column::Name.eq(name.trim())).one(db.read()).await?)
}

/// Creates a team whose only member is its creator.
pub async fn create(
    db: &Db,
    clock: &Clock,
    actor: &Actor,
    name: &str,
    limits: &Limits,
) -> Result<team::Model> {
    let name = name.trim().to_owned();
    if name.is_empty() || name.chars().count() > 200 {
        return Err(Error::invalid("/name", "INVALID", "The name of a team must have 1 to 200 characters."));
    }
    let (creator, max, now) = (actor.user.id, limits.teams, clock.now());
    let created = db.write(move |tx| {
        Box::pin(async move {
            limit::lock_account(tx, creator).await?;
            let message =
                format!("You have created {max} teams, the maximum that the operator allows (limits.teams).");
            limit::check_quota(
                tx,
                team::Entity::find().filter(team::Column::CreatedBy.eq(creator)),
                max,
                message,
            )
            .await?;
            let id = TeamId::new();
            let row = team::ActiveModel {
                id: Set(id),
                name: Set(name),
                created_by: Set(creator),
                created_at: Set(now),
            };
            let message = "A team with this name already exists.";
            let team = row.insert(tx).await.map_err(|e| unique_or(e, message))?;
            let member =
                team_member::ActiveModel { team_id: Set(id), account_id: Set(creator), created_at: Set(now) };
            member.insert(tx).await?;
            Ok(team)
        })
    });
    let team: team::Model = created.await?;
    audit::record_with_subject(AuditEvent::TeamCreated, Outcome::Ok, actor.into(), team.id);
    Ok(team)
}

/// Returns a team that the actor may see and locks it, so that a member who is being removed cannot add themselves
/// again.
async fn lock_visible(tx: &DatabaseTransaction, actor: &Actor, id: TeamId) -> Result<team::Model> {
    team::Entity::find_by_id(id).lock(LockType::NoKeyUpdate).one(tx).await?;
    get(tx, actor, id).await?.ok_or_else(|| Error::not_found("team"))
}

/// Adds a member and returns the user's ID; adding an existing member changes nothing.
pub async fn add_member(
    db: &Db,
    clock: &Clock,
    actor: &Actor,
    id: TeamId,
    user_ref: UserRef,
    limits: &Limits,
) -> Result<(team::Model, UserId)> {
    let (viewer, max, now) = (actor.clone(), limits.team_members, clock.now());
    let added = db.write(move |tx| {
        Box::pin(async move {
            let team = lock_visible(tx, &viewer, id).await?;
            let user = find_user(tx, &user_ref).await?;
            let row =
                team_member::ActiveModel { team_id: Set(id), account_id: Set(user.id), created_at: Set(now) };
            let on_conflict =
                OnConflict::columns([team_member::Column::TeamId, team_member::Column::AccountId])
                    .do_nothing()
                    .to_owned();
            let added =
                team_member::Entity::insert(row).on_conflict(on_conflict).exec_without_returning(tx).await?;
            let count =
                team_member::Entity::find().filter(team_member::Column::TeamId.eq(id)).count(tx).await?;
            if added > 0 && count > max {
                let message = format!("A team may have at most {max} members.");
                return Err(Error::invalid("", "TOO_MANY", message));
            }
            Ok((team, user.id))
        })
    });
    let (team, member): (team::Model, _) = added.await?;
    audit::record_access_change(AuditEvent::TeamMemberAdded, actor.into(), member, team.id);
    Ok((team, member))
}

/// Removes a member and returns the user's ID. A user who is not a member is NOT_FOUND.
pub async fn remove_member(
    db: &Db,
    actor: &Actor,
    id: TeamId,
    user_ref: UserRef,
) -> Result<(team::Model, UserId)> {
    let viewer = actor.clone();
    let removed = db.write(move |tx| {
        Box::pin(async move {
            let team = lock_visible(tx, &viewer, id).await?;
            let user = find_user(tx, &user_ref).await?;
            let deleted = team_member::Entity::delete_by_id((id, user.id)).exec(tx).await?;
            if deleted.rows_affected == 0 {
                return Err(Error::not_found("member of this team"));
            }
            Ok((team, user.id))
        })
    });
    let (team, member): (team::Model, _) = removed.await?;
    audit::record_access_change(AuditEvent::TeamMemberRemoved, actor.into(), member, team.id);
    Ok((team, member))
}
