-- Is this credential live, and is it inside its rate limit? One round trip for both.
--
-- KEYS: its grant (a hash that identity writes), its rate (the generic cell rate algorithm's theoretical arrival time).
-- ARGV: the limit a minute, or '' to look the grant up and take the limit from it; the field of the grant that shows the
-- credential to be genuine, and what stands there when it is.
-- Answers {'unknown'}, {'mismatch'}, {'uncounted', grant} or
-- {'counted', grant, limit, 1 if within it, requests left, microseconds until there are more}.

local grant, limit = '', tonumber(ARGV[1])
if not limit then
  local cached = redis.call('HMGET', KEYS[1], 'grant', ARGV[2], 'requests_per_minute')
  if not cached[1] or not cached[2] then
    return {'unknown'}
  end
  if cached[2] ~= ARGV[3] then
    return {'mismatch'}
  end
  grant, limit = cached[1], tonumber(cached[3] or '0')
  if limit == 0 then
    return {'uncounted', grant}
  end
end

local window = 60000000
local interval = window / limit
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local arrival = math.max(now, tonumber(redis.call('GET', KEYS[2]) or '0'))
local used = arrival - now
if used + interval > window then
  return {'counted', grant, limit, 0, 0, math.ceil(used + interval - window)}
end
used = used + interval
redis.call('SET', KEYS[2], string.format('%.0f', now + used), 'PX', math.ceil(used / 1000))
return {'counted', grant, limit, 1, math.floor((window - used) / interval), math.ceil(used)}
