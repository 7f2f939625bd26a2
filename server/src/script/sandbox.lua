-- What scripts see of Lua. Gets the native libraries and the functions of the server; returns what it has made of them.
--
-- A protected table is an empty one in front of the real one, which nobody can reach: reading falls through, writing
-- raises. Functions that look at tables without asking their metatables know the protected ones and treat them as Redis
-- treats its read-only tables.

local native, server = ...
local error, type, tostring, setmetatable = native.error, native.type, native.tostring, native.setmetatable
local pcall, xpcall = native.pcall, native.xpcall
local visible, caught, plain = server.visible, server.caught, server.plain
local resume = native.coroutine.resume

local function refuse()
  error('Attempt to modify a readonly table', 2)
end

local function protect(real)
  local front = setmetatable({}, {__index = real, __newindex = refuse, __metatable = false})
  server.protected(front, real)
  return front
end

local function missing(_, name)
  error("Script attempted to access nonexistent global variable '" .. tostring(name) .. "'", 2)
end

local function settle(ok, result, ...)
  if ok then
    return ok, result, ...
  end
  return ok, plain(result)
end

local function settle_resumed(ok, result, ...)
  if ok then
    return ok, result, ...
  end
  return ok, caught(result)
end

local globals = {}
for _, name in native.ipairs {'assert', 'error', 'gcinfo', 'ipairs', 'next', 'rawequal', 'select', 'tonumber', 'tostring',
    'type', 'unpack', '_VERSION'} do
  globals[name] = native[name]
end
for _, name in native.ipairs {'pairs', 'rawget', 'rawset', 'setmetatable', 'getmetatable', 'load', 'loadstring'} do
  globals[name] = server[name]
end

function globals.pcall(...)
  return settle(pcall(...))
end

function globals.xpcall(body, handler)
  return settle_resumed(xpcall(body, function(raised)
    return handler(visible(raised))
  end))
end

-- Collecting is the machine's business: a script may look, no more.
function globals.collectgarbage(option)
  if option == 'count' then
    return native.collectgarbage('count')
  end
  return 0
end

local coroutine = {}
for _, name in native.ipairs {'create', 'running', 'status', 'wrap', 'yield'} do
  coroutine[name] = native.coroutine[name]
end
function coroutine.resume(...)
  return settle_resumed(resume(...))
end

local math = {}
for name, value in native.pairs(native.math) do
  math[name] = value
end
math.random, math.randomseed = server.random, server.randomseed

local string = {}
for name, value in native.pairs(native.string) do
  string[name] = value
end
for _, name in native.ipairs {'find', 'match', 'gmatch', 'gfind', 'gsub'} do
  string[name] = server[name]
end

globals.string, globals.math, globals.coroutine = protect(string), protect(math), protect(coroutine)
globals.table = protect(native.table)
globals.bit, globals.struct = protect(server.bit), protect(server.struct)
globals.cjson, globals.cmsgpack = protect(server.cjson), protect(server.cmsgpack)

-- Methods of strings: the metatable that all of them share has its place in the native library.
local of_strings = native.getmetatable('')
of_strings.__index = string
of_strings.__metatable = protect {__index = globals.string}

local front = setmetatable({}, {__index = globals, __newindex = refuse, __metatable = protect {__index = missing}})
setmetatable(globals, {__index = missing})
server.protected(front, globals)
globals._G = front

-- Libraries of functions see next to nothing while they load, and everything once they run.
local loading = setmetatable({redis = protect(setmetatable(server.loading, {__index = missing}))}, {__index = missing})
local library_meta = {__index = globals, __newindex = refuse, __metatable = false}
local library_front = setmetatable({}, library_meta)
server.protected(library_front, globals)

local function while_loading(body, ...)
  library_meta.__index = loading
  local ok, result = xpcall(body, server.handler)
  library_meta.__index = globals
  return ok, result
end

local handler = server.handler

local function run(body, keys, args)
  globals.KEYS, globals.ARGV = keys, args
  return xpcall(body, handler)
end

local function run_function(body, keys, args)
  return xpcall(function()
    return body(keys, args)
  end, handler)
end

return {
  front = front,
  globals = globals,
  protect = protect,
  library_front = library_front,
  while_loading = while_loading,
  run = run,
  run_function = run_function,
  handler = handler,
}
