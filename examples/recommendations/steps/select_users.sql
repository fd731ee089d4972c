-- The cohort: all users who gave at least :min_ratings ratings, what they rated, and their region.
CREATE TABLE cohort AS
    WITH active AS (
        SELECT user_id, region(user_id) AS region
        FROM source.ratings
        GROUP BY user_id
        HAVING count(*) >= :min_ratings
    )
    SELECT user_id, movie_id, rating, region
    FROM source.ratings JOIN active USING (user_id)
    ORDER BY user_id, movie_id
