-- What httpd answers /work with: burn CPU, wait, answer bytes, or crash, as mpmlab's own handler
-- does (mpmlab/real/application.py). Nothing else lives here.
--
-- CPU is counted by the calling thread's own clock, so that waiting for a core does not count. A
-- look at it through luaposix costs about 1.5 us, hence passes of an empty loop between looks.

local posix_time = require "posix.time"
local posix_signal = require "posix.signal"

local THREAD_CLOCK = posix_time.CLOCK_THREAD_CPUTIME_ID
local clock_gettime = posix_time.clock_gettime
-- Some 10 us at a time, until 40 us before the end.
local PASSES = 1000
local FINE_NS = 40000
local PATTERN = {}
for code = 32, 126 do PATTERN[#PATTERN + 1] = string.char(code) end
PATTERN = string.rep(table.concat(PATTERN), 11) .. "\n"

local LIMITS = { cpu_us = 3600000000, wait_us = 3600000000, bytes = 1 << 30, crash = 1 }

-- What our own servers answer other methods than those that do the work with.
local WORK = 0
local METHODS = { GET = WORK, HEAD = WORK, POST = WORK, OPTIONS = 200 }

local function now_ns()
  local at = clock_gettime(THREAD_CLOCK)
  return at.tv_sec * 1000000000 + at.tv_nsec
end

local function cost_of_a_look_ns()
  local least = math.maxinteger
  local before = now_ns()
  for _ = 1, 50 do
    local after = now_ns()
    least = math.min(least, after - before)
    before = after
  end
  return least
end

-- The first look is half over when it reads the clock, the last comes half a look late on average.
local LOOK_NS = cost_of_a_look_ns()

local function burn(cpu_us)
  local ends = now_ns() + cpu_us * 1000 - LOOK_NS
  while ends - now_ns() > FINE_NS do
    for _ = 1, PASSES do end
  end
  while now_ns() < ends do end
end

-- A body goes out in pieces of one block. No body is kept: each of httpd's threads has a Lua state of
-- its own, and what the states hold would be the server's memory.
local BLOCK = string.rep(PATTERN, 8)

local function write_body(r, size)
  while size >= #BLOCK do
    r:write(BLOCK)
    size = size - #BLOCK
  end
  if size > 0 then r:write(BLOCK:sub(1, size)) end
end

local function decoded(text)
  text = text:gsub("%+", " "):gsub("%%(%x%x)", function(hex)
    return string.char(tonumber(hex, 16))
  end)
  return text
end

-- The demand of a query, or nil and what is wrong with it.
local function demand_of(query)
  local found = { cpu_us = 0, wait_us = 0, bytes = 0, crash = 0 }
  local coded = query:find("[%%+]")
  for pair in query:gmatch("[^&]+") do
    local key, text = pair:match("^([^=]*)=?(.*)$")
    if coded then key, text = decoded(key), decoded(text) end
    local most = LIMITS[key]
    if most == nil then
      return nil, "unknown parameter '" .. key .. "'; accepted: cpu_us, wait_us, bytes, crash"
    end
    local value = #text <= 12 and text:match("^%d+$") and math.tointeger(tonumber(text))
    if not value or value > most then
      return nil, key .. " must be a whole number from 0 to " .. most
    end
    found[key] = value
  end
  return found
end

function handle(r)
  local status = METHODS[r.method] or 501
  if status ~= WORK then
    r.status = status
    r.headers_out["Content-Length"] = "0"
    return apache2.OK
  end
  local demand, wrong = demand_of(r.args or "")
  if r.method == "POST" then
    r:requestbody()
  end
  if demand == nil then
    r.status = 400
    r.headers_out["Content-Length"] = tostring(#wrong)
    r:write(wrong)
    return apache2.OK
  end
  if demand.cpu_us > 0 then burn(demand.cpu_us) end
  if demand.crash == 1 then posix_signal.raise(posix_signal.SIGSEGV) end
  -- With a dot: mod_lua's usleep takes no request.
  if demand.wait_us > 0 then r.usleep(demand.wait_us) end
  r.headers_out["Content-Length"] = tostring(demand.bytes)
  write_body(r, demand.bytes)
  return apache2.OK
end
