-- Where somebody acts when a request names no organization: their personal one, or the first they joined of those left.
CREATE FUNCTION home_of(person_id uuid) RETURNS uuid LANGUAGE sql STABLE AS $$
    SELECT members.organization_id
    FROM members JOIN organizations ON organizations.id = members.organization_id
    WHERE members.user_id = person_id AND organizations.deleted_at IS NULL
    ORDER BY organizations.is_personal AND organizations.created_by = person_id DESC, members.created_at
    LIMIT 1
$$;
